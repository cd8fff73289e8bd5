"""The command ``calls``: who is called for margin, why, and what changed since another run."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.markup import escape

from flows.commands.shared import CONSOLE, MESSAGES, Json, Runs, print_json
from flows.format import short
from flows.settings import Settings
from flows.tables import columns

MEMBERS_SHOWN = 10
CAUSES = {
    "equity": "equity alone",
    "requirement": "the requirement alone",
    "either": "either: each alone does it",
    "both": "both together",
}


def calls(
    run: str = "latest",
    *,
    previous: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=0))] = 20,
    ways: Annotated[int, Parameter(validator=Number(gte=0))] = 5,
    csv: Path | None = None,
    parquet: Path | None = None,
    runs: Runs = None,
    json: Json = False,
) -> None:
    """List the margin calls of a run, and what changed since the run before it.

    Args:
        run: name of the run, or an unambiguous start of it
        previous: the run to compare with; the newest earlier one of the same book and methodology
            when left out
        limit: how many calls and how many changed accounts to list
        ways: of how many of them to search the cheapest way back, the largest first; an account
            of dozens of positions takes seconds, and a minute if each is margined alone
        csv: a .csv file to write all calls to
        parquet: a .parquet file to write all calls to
        runs: folder of the runs, or s3://bucket/prefix; runs of the data folder when left out
        json: print everything as JSON
    """
    from flows.progress import TerminalProgress
    from risk.health import HealthSpec
    from storage.runs import RunStore
    from workers.calls import CallFiles, margin_calls, run_before

    store = RunStore(Settings.given(runs=runs).runs)
    opened = store.open(run)
    before = run_before(store, opened) if previous is None else store.open(previous)
    with TerminalProgress(MESSAGES) as progress:
        files = CallFiles(csv, parquet)
        found = margin_calls(opened, progress, previous=before, limit=limit, files=files)
        searched = found["calls"][:ways]
        if not json:
            print_calls(CONSOLE, found)
        if searched:
            from workers.ways_back import ways_back

            names = [call["account"] for call in searched]
            rules = HealthSpec.model_validate(found["rules"])
            with progress.waiting(f"ways back of {len(names):,} accounts"):
                for call, way in zip(searched, ways_back(opened, names, rules), strict=True):
                    call["way_back"] = way
    if json:
        print_json(found)
        return
    _print_ways(CONSOLE, searched)
    for path in (csv, parquet):
        if path is not None:
            CONSOLE.print(
                f"{found['accounts_called']:,} calls written to {path}",
                highlight=False,
                soft_wrap=True,
            )


def print_calls(console: Console, found: dict[str, Any]) -> None:
    """Print totals, calls and what changed."""
    rules, due = found["rules"], found["rules"]["due_hours"]
    console.print(
        f"[bold]{found['run_id']}[/], as of {found['as_of']}; money in {found['currency']}\n"
        f"warned below {rules['warning_ratio']:g} x initial, called below initial, liquidated "
        f"below maintenance; a call asks for {rules['target_ratio']:g} x initial and is due in "
        f"{due['margin_call']:g} h, {due['liquidation']:g} h in liquidation, "
        f"{due['bankrupt']:g} h in bankruptcy",
        highlight=False,
        soft_wrap=True,
    )
    _print_health(console, found)
    _print_members(console, found)
    _print_called(console, found)
    if "since" in found:
        _print_since(console, found["since"])


def _print_health(console: Console, found: dict[str, Any]) -> None:
    table = columns(
        "Accounts by health",
        *("health", "accounts", "equity", "initial", "maintenance", "called"),
    )
    for one in found["by_health"]:
        amounts = (one[name] for name in ("equity", "initial", "maintenance", "call_amount"))
        table.add_row(
            one["health"].replace("_", " "), f"{one['accounts']:,}", *(short(a) for a in amounts)
        )
    if found["held"]:
        table.add_row("held back", f"{found['held']:,}", "", "", "", "")
    console.print(table, highlight=False)


def _print_members(console: Console, found: dict[str, Any]) -> None:
    called = [one for one in found["by_member"] if one["accounts_called"]]
    if not called:
        return
    names = ("margin_call", "liquidation", "bankrupt")
    table = columns(
        "Calls by member, largest first",
        *("member", "called", "accounts", *(name.replace("_", " ") for name in names)),
    )
    for one in called[:MEMBERS_SHOWN]:
        table.add_row(
            *(escape(one["member"]), short(one["call_amount"]), f"{one['accounts_called']:,}"),
            *(f"{one[name]:,}" for name in names),
        )
    rest = called[MEMBERS_SHOWN:]
    if rest:
        amount = sum(one["call_amount"] for one in rest)
        count = sum(one["accounts_called"] for one in rest)
        table.add_row(f"{len(rest):,} more", short(amount), f"{count:,}", "", "", "")
    console.print(table, highlight=False)


def _print_called(console: Console, found: dict[str, Any]) -> None:
    total = found["accounts_called"]
    if not total:
        console.print("\nno account is called", highlight=False)
        return
    table = columns(
        f"The {len(found['calls']):,} largest of {total:,} calls, "
        f"{short(found['call_amount'])} in all",
        *("account", "member", "health", "largest layer, binding scenario"),
        *("equity", "initial", "maintenance", "call", "due"),
        left=4,
    )
    for one in found["calls"]:
        why = f"{one['largest_layer']}, {one['binding_scenario'] or 'no scenario'}"
        amounts = (one[name] for name in ("equity", "initial", "maintenance"))
        table.add_row(
            *(escape(one["account"]), escape(one["member"]), one["health"].replace("_", " ")),
            *(escape(why), *(short(amount) for amount in amounts)),
            *(f"{one['call_amount']:,.2f}", f"{one['due_hours']:g} h"),
        )
    console.print(table, highlight=False)


def _print_ways(console: Console, found: list[dict[str, Any]]) -> None:
    if not found:
        return
    table = columns(
        "Ways back: a deposit, or what to trade at the mark, the least notional that suffices",
        *("account", "deposit", "or trade", "notional"),
    )
    for one in found:
        way = one["way_back"]
        trades = [way["single"]] if way["single"] else way["sequence"]
        words = " and ".join(
            f"{trade['contracts']:+,g} {escape(trade['instrument'])} ({trade['fraction']:.0%})"
            for trade in trades[:2]
        )
        if len(trades) > 2:
            words += f" and {len(trades) - 2} more"
        if not trades and way["proportional"] is not None:
            words = f"reduce every position by {way['proportional']:.1%}"
        notional = short(sum(trade["notional"] for trade in trades)) if trades else ""
        table.add_row(
            *(escape(one["account"]), f"{way['deposit']:,.2f}"),
            *(words or _no_trade(way["searched"]), notional),
        )
    console.print(table, highlight=False)


def _no_trade(searched: bool) -> str:
    if searched:
        return "nothing: no reduction suffices"
    return "not searched: the rule book weighs what positions are paid with"


def _print_since(console: Console, since: dict[str, Any]) -> None:
    table = columns(
        f"Since {since['previous_run_id']}, as of {since['previous_as_of']}", "", "", left=1
    )
    for name in ("margined_in_both", "new", "gone"):
        table.add_row(f"accounts {name.replace('_', ' ')}", f"{since[name]:,}")
    for name in ("requirement_change", "equity_change", *since["meaning"]):
        indent = "  " if name in since["meaning"] else ""
        # Rounding comes before the sign: a sum that cancels is zero and not minus zero.
        table.add_row(indent + name.replace("_", " "), f"{round(since[name], 2) + 0.0:,.2f}")
    for name, count in since["health"].items():
        table.add_row(f"accounts whose health is {name}", f"{count:,}")
    for name, count in since["changed_because"].items():
        table.add_row(f"  because of {CAUSES[name]}", f"{count:,}")
    console.print(table, highlight=False)
    for name, meaning in since["meaning"].items():
        console.print(f"{name.replace('_', ' ')}: {meaning}", highlight=False, soft_wrap=True)
    if since["accounts_without_parts"]:
        console.print(
            f"{since['accounts_without_parts']:,} accounts held what has no price in one of the "
            "runs: their change of equity is in its sum and in none of its parts",
            highlight=False,
            soft_wrap=True,
        )
    _print_changed(console, since["accounts"])


def _print_changed(console: Console, accounts: list[dict[str, Any]]) -> None:
    if not accounts:
        return
    table = columns(
        "Accounts whose health changed, worst first",
        *("account", "was", "is", "because of", "equity", "requirement", "variation margin"),
        left=4,
    )
    for one in accounts:
        margin = one["variation_margin"]
        table.add_row(
            *(escape(one["account"]), one["previous_health"].replace("_", " ")),
            *(one["health"].replace("_", " "), one["changed_because"]),
            *(f"{one['equity_change']:+,.2f}", f"{one['requirement_change']:+,.2f}"),
            "not known" if margin is None else f"{margin:+,.2f}",
        )
    console.print(table, highlight=False)
