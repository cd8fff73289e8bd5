"""The command ``what-if``: what trades would do to an account, before anybody makes them."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from flows.commands.shared import CONSOLE, Json, Runs, print_json
from flows.settings import Settings
from flows.tables import columns

SHOWN = 30


def what_if(
    account: str,
    *,
    add: Annotated[
        tuple[str, ...],
        Parameter(
            allow_leading_hyphen=True,
            negative=(),
        ),
    ] = (),
    run: str = "latest",
    runs: Runs = None,
    json: Json = False,
) -> None:
    """Show what trades would do to an account: margin before and after, and liquidation prices.

    Trades are at the run's marks and free of fees, so equity stays what it is. Without a trade
    the account is shown as it is.

    Args:
        account: name of the account
        add: 'QTY INSTRUMENT' to trade, in contracts, negative to sell; may be given again
        run: name of the run, or an unambiguous start of it
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print everything as JSON
    """
    from storage.book import AccountUnknown
    from storage.runs import RunStore
    from workers.what_if import what_if as asked

    opened = RunStore(Settings.given(runs=runs).runs).open(run)
    try:
        answer = asked(opened, account, add)
    except AccountUnknown as error:
        raise ValueError(f"{error}; run {opened.run_id} was asked, --run asks another") from None
    if json:
        print_json(answer)
        return
    print_what_if(CONSOLE, answer)


def print_what_if(console: Console, answer: dict[str, Any]) -> None:
    """Print the answer: trades, before and after, whose margin it is, liquidation prices."""
    console.print(
        f"[bold]{escape(answer['account'])}[/], {answer['margin_mode']} margin, "
        f"in run {answer['run_id']}; money in USD",
        highlight=False,
    )
    if answer["trades"]:
        _print_trades(console, answer)
    _print_states(console, answer)
    _print_shares(console, answer["shares"])
    _print_liquidation(console, answer["liquidation"])


def _print_trades(console: Console, answer: dict[str, Any]) -> None:
    table = columns(
        "Trades, at the run's marks; incremental margin in the order given sums to the change",
        *("instrument", "contracts", "paid", "notional", "incremental", "if alone", "if last"),
    )
    for trade, margin in zip(answer["trades"], answer["marginal"], strict=True):
        table.add_row(
            *(escape(trade["instrument"]), f"{trade['contracts']:,g}", f"{trade['paid']:,.2f}"),
            *(f"{trade['notional']:,.2f}", f"{margin['incremental']:,.2f}"),
            *(f"{margin['alone']:,.2f}", f"{margin['last']:,.2f}"),
        )
    table.add_row("[bold]change of the requirement[/]", "", "", "", f"{answer['change']:,.2f}")
    console.print(table, highlight=False)


def _print_states(console: Console, answer: dict[str, Any]) -> None:
    before, after = answer["before"], answer["after"]
    table = columns("Before and after", "", "before", "after", "change")

    def line(name: str, was: float, becomes: float) -> None:
        table.add_row(name, f"{was:,.2f}", f"{becomes:,.2f}", f"{becomes - was:+,.2f}")

    for layer in answer["layers"]:
        line(f"layer {escape(layer['layer'])}", layer["before"], layer["after"])
    names = (
        ("requirement = sum of layers", "requirement"),
        ("maintenance", "maintenance"),
        (f"collateral {answer['collateral_counted']}", "collateral_value"),
        ("value of options and spot", "position_value"),
        ("equity", "equity"),
        ("excess = equity - requirement", "excess"),
    )
    for name, key in names:
        line(name, before[key], after[key])
    ratio = [
        "" if one["margin_ratio"] is None else f"{one['margin_ratio']:.3f}"
        for one in (before, after)
    ]
    table.add_row("margin ratio = equity / requirement", *ratio, "")
    table.add_row("health", *(one["health"].replace("_", " ") for one in (before, after)), "")
    console.print(table, highlight=False)


def _print_shares(console: Console, shares: dict[str, Any]) -> None:
    """Print whose requirement it is after the trades, the largest shares first."""
    positions = sorted(shares["positions"], key=lambda one: -abs(one["share"]))
    if not positions:
        return
    method = {"euler": "Euler", "aumann_shapley": "Aumann and Shapley"}[shares["method"]]
    table = columns(
        f"Shares in the requirement after the trades, by {method}; they sum to it",
        *("position", "contracts", "share", "released if closed"),
    )
    for one in positions[:SHOWN]:
        table.add_row(
            *(escape(one["instrument"]), f"{one['contracts']:,g}"),
            *(f"{one['share']:,.2f}", f"{one['released_if_closed']:,.2f}"),
        )
    rest = positions[SHOWN:]
    if rest:
        table.add_row(f"{len(rest):,} more", "", f"{sum(one['share'] for one in rest):,.2f}", "")
    if shares["collateral"]:
        table.add_row("collateral by itself", "", f"{shares['collateral']:,.2f}", "")
    whole = sum(one["share"] for one in positions) + shares["collateral"]
    table.add_row("[bold]all[/]", "", f"{whole:,.2f}", "")
    console.print(table, highlight=False)


def _print_liquidation(console: Console, found: list[dict[str, Any]]) -> None:
    if not found:
        return
    low, high = found[0]["looked_between"]
    none = f"none within {low:+.0%} to {high:+.0%}"
    table = columns(
        "Liquidation prices after the trades: equity falls to maintenance, other prices unchanged",
        *("underlying", "price now", "below", "move", "above", "move"),
    )
    for one in found:
        if one["liquidated_now"]:
            cells = ["below maintenance now", "", "", ""]
        else:
            cells = []
            for side in (one["below"], one["above"]):
                cells += (
                    [none, ""]
                    if side is None
                    else [f"{side['price']:,.2f}", f"{side['move']:+.2%}"]
                )
        table.add_row(escape(one["underlying"]), f"{one['price']:,.2f}", *cells)
    console.print(table, highlight=False)
