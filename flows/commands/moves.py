"""The command ``collateral moves``: where collateral should go, so that venues have what is due."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from flows.commands.shared import CONSOLE, Json, print_json
from flows.format import duration, short
from flows.tables import columns

EXIT_UNMET = 6

GAP_SHOWN = 1e-4
"""Fraction of the cost above which a cheaper plan that is not ruled out is spoken of."""

PER = 10_000
"""What the worth of a limit is shown for, in the currency of the plan."""

KINDS = {
    "source": "all that is free of",
    "capacity": "capacity of route",
    "moved": "most moved over bridge",
    "counted": "most counted on bridge",
    "share": "most in one asset:",
}
"""What binds, in words, by the kind of a limit."""


def moves(
    file: Path,
    *,
    quickest: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """Plan the cheapest moves that meet what venues require in time, and exit with 6 if none do.

    The plan is checked from its own moves, in exact arithmetic, before it is shown.

    Args:
        file: sources, routes and requirements in TOML, as docs/moves.md describes
        quickest: show the plan that is complete soonest instead
        json: print the cheapest and the quickest plan and those between as JSON
    """
    from workers.claims.moves import plans_of, read_moves

    answer = plans_of(read_moves(file))
    if json:
        print_json(answer)
    else:
        print_moves(CONSOLE, answer, "quickest" if quickest else "cheapest")
    if not answer["met"]:
        sys.exit(EXIT_UNMET)


def print_moves(console: Console, answer: dict[str, Any], which: str) -> None:
    """Print one plan and what others cost."""
    plan, currency = answer[which], answer["currency"]
    cost = plan["cost"]
    if answer["met"]:
        headline = (
            f"[bold]The {which} plan[/] costs {cost['total']:,.2f} {currency} and is complete "
            f"{_after(plan['seconds'])}"
        )
    else:
        headline = "[bold]No plan meets every requirement.[/] This one leaves the least unmet"
    console.print(f"{headline}; checked from its moves", highlight=False)
    _print_moves(console, plan["moves"], currency)
    console.print(
        f"\ncost {cost['total']:,.2f} {currency} = fixed fees {cost['fixed_fees']:,.2f} + withheld "
        f"{cost['withheld_fees']:,.2f} + delay {cost['delay']:,.2f}",
        highlight=False,
    )
    if plan["gap"] > GAP_SHOWN:
        console.print(
            f"a plan that is cheaper by up to {plan['gap']:.2%} is not ruled out", highlight=False
        )
    _print_requirements(console, plan["requirements"], currency)
    _print_binding(console, plan, currency)
    if len(answer["frontier"]) > 1:
        _print_frontier(console, answer["frontier"], currency)


def _after(seconds: int) -> str:
    return f"after {duration(seconds)}" if seconds else "at once"


def _time(seconds: int) -> str:
    return duration(seconds) if seconds else "now"


def _quantity(text: str) -> str:
    """Return a quantity to six decimals; in JSON it has all of them."""
    whole, _, part = f"{Decimal(text):,.6f}".partition(".")
    return f"{whole}.{part}".rstrip("0").rstrip(".")


def _print_moves(console: Console, listed: list[dict[str, Any]], currency: str) -> None:
    if not listed:
        console.print("\nnothing moves", highlight=False)
        return
    table = columns(
        "Moves, in order of departure",
        *("route", "from", "to", "leaves", "arrives", "departs", "there", f"fee, {currency}"),
        left=3,
    )
    for one in listed:
        table.add_row(
            *(escape(one[key]) for key in ("route", "origin", "destination")),
            escape(f"{_quantity(one['sent'])} {one['token']}"),
            escape(f"{_quantity(one['received'])} {one['arriving_token']}"),
            *(_time(one["departs_seconds"]), _time(one["arrives_seconds"])),
            f"{one['fee']:,.2f}",
        )
    console.print(table, highlight=False)


def _print_requirements(console: Console, listed: list[dict[str, Any]], currency: str) -> None:
    table = columns(
        f"Requirements, {currency}",
        *("venue", "due", "required", "there before", "counted", "unmet", f"{PER:,} more cost"),
    )
    for one in listed:
        more = one["one_more_costs"]
        table.add_row(
            *(escape(one["venue"]), _time(one["due_seconds"]), f"{one['required']:,.2f}"),
            *(f"{one['credit_before']:,.2f}", f"{sum(one['counted'].values()):,.2f}"),
            f"{one['unmet']:,.2f}",
            "" if more is None else short(PER * more),
        )
    console.print(table, highlight=False)


def _print_binding(console: Console, plan: dict[str, Any], currency: str) -> None:
    """Print which limits bind, and of what is unmet what would help."""
    if plan["binding"]:
        what = "saves" if plan["met"] else "would meet"
        table = columns(
            f"What binds, and what {PER:,} {currency} more of it {what}",
            *("limit", f"worth, {currency}"),
        )
        for one in sorted(plan["binding"], key=lambda one: -one["worth"]):
            table.add_row(escape(f"{KINDS[one['kind']]} {one['name']}"), short(PER * one["worth"]))
        console.print(table, highlight=False)
    for one in plan["deadlines"]:
        console.print(
            f"\n{escape(one['venue'])} is due too soon: {one['released']:,.2f} {currency} more "
            f"would be there {_after(one['seconds'])}",
            highlight=False,
        )


def _print_frontier(console: Console, listed: list[dict[str, Any]], currency: str) -> None:
    table = columns(
        "From the cheapest plan to the quickest", "complete", "moves", f"cost, {currency}"
    )
    for one in listed:
        table.add_row(_time(one["seconds"]), str(one["moves"]), f"{one['cost']:,.2f}")
    console.print(table, highlight=False)
