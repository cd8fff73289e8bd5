"""Commands on markets: import one, look at one."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from flows.commands.findings import print_counts, print_findings
from flows.commands.shared import (
    CONSOLE,
    MESSAGES,
    Json,
    print_json,
    require_folder,
    require_plain_name,
)
from flows.settings import Settings
from flows.tables import columns

if TYPE_CHECKING:
    import xarray as xr

app = App(help="Markets: quotes, price history and index prices at one instant.")


@app.command(name="import")
def import_(
    source: Path,
    *,
    as_of: Annotated[datetime, Parameter(help="the valuation instant, with its zone")],
    name: str | None = None,
    look_ahead: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """Import quotes and price history from CSV or Parquet; bad rows go to quarantine by name.

    Args:
        source: folder with quotes and prices
        as_of: the valuation instant, such as 2024-01-08T11:19:41Z
        name: name of the market; the folder's own when left out
        look_ahead: the history may go on after the instant, so scenarios see the future
        json: print what was found as JSON
    """
    from storage.intake.history import MarketLimits
    from storage.intake.market import import_market

    require_folder(source)
    require_plain_name(name or source.name)
    target = Settings().markets / (name or source.name)
    with MESSAGES.status("read and check") as status:
        report = import_market(
            source,
            target,
            as_of=as_of,
            limits=MarketLimits(look_ahead=look_ahead),
            progress=lambda dataset, rows: status.update(f"{dataset}: {rows:,} rows checked"),
        )
    if json:
        print_json({"path": str(target), "findings": dict(report.counts)})
        return
    print_counts(report.datasets)
    print_findings(report.counts, report.findings)
    CONSOLE.print(f"next: margincube run BOOK --market {target.name}", highlight=False)


@app.command
def show(market: str = "sample", *, json: Json = False) -> None:
    """Show the index prices of a market, and how well its volatility surface fits.

    Args:
        market: name or folder of a market; the one that ships when left out
        json: print it as JSON
    """
    from storage.market import Market, sample_market
    from workers.chains import fit_chains
    from workers.quality import surface_quality

    opened = sample_market() if market == "sample" else Market.open(Settings().market_path(market))
    quality = surface_quality(opened, fit_chains(opened))
    if json:
        index = {coin: price.price for coin, price in opened.index.items()}
        print_json(
            {
                "name": opened.name,
                "as_of": opened.as_of.isoformat(),
                "index": index,
                "expiries": _expiries(quality),
            }
        )
        return
    table = columns(
        f"Market {opened.name}, as of {opened.as_of.isoformat()}",
        *("coin", "source", "index, USD", "age"),
        left=2,
    )
    for coin, price in opened.index.items():
        age = f"{price.age_seconds(opened.as_of):,.0f} s"
        table.add_row(coin, price.source, f"{price.price:,.2f}", age)
    CONSOLE.print(table, highlight=False)
    table = columns(
        "Volatility surface by expiry; error of the venue's marks in fractions of the forward",
        *("expiry", "coin", "forward", "quotes", "median error", "largest error", "arbitrage"),
        left=2,
    )
    for row in _expiries(quality):
        table.add_row(
            *(row["expiry"][:16], row["underlying"], f"{row['forward']:,.2f}"),
            *(f"{row['quotes']:,}", f"{row['median_error']:.2%}", f"{row['largest_error']:.2%}"),
            "none" if row["arbitrage_free"] else "yes, see docs/market.md",
        )
    CONSOLE.print(table, highlight=False)


def _expiries(quality: "xr.Dataset") -> list[dict[str, Any]]:
    rows = []
    for position in range(quality.sizes["expiry"]):
        one = quality.isel(expiry=position)
        error = one["mark_error"].values
        rows.append(
            {
                "expiry": str(one["expiry"].values),
                "underlying": str(one["underlying"].item()),
                "forward": float(one["forward"]),
                "quotes": int(one["quotes"]),
                "median_error": float(error[0]),
                "largest_error": float(error[-1]),
                "arbitrage_free": bool(one["butterfly_free"] and one["calendar_free"]),
            }
        )
    return rows
