"""A collateral run in the terminal."""

from typing import Any

from rich.console import Console

from flows.format import short
from flows.tables import columns, print_approval, print_stages
from risk.claims.tokens import REASONS, Outcome

DOUBLE_COUNTS = {
    "roots": "deposits that several claims rest on",
    "proofs": "proofs that show several claims",
    "backings": "claims pledged together with receipts for them",
    "circles": "circles of receipts",
    "recipe_circles": "circles of tokens that stand for each other",
}
"""Kinds of double counts in words, by their names in the manifest."""


def print_pool(console: Console, manifest: dict[str, Any]) -> None:
    """Print what a pool comes to, what does not count and why, and where the time went."""
    totals, inputs = manifest["totals"], manifest["inputs"]
    console.print(
        f"[bold]{manifest['run_id']}[/], as of {manifest['as_of']}, "
        f"published {manifest['created']}",
        highlight=False,
    )
    rules = inputs["rules"]
    console.print(
        f"claims {inputs['claims']['name']} with margin run {inputs['run']['run_id']}, by "
        f"{rules['name']} {rules['version']}: {rules['title']}",
        highlight=False,
        markup=False,
    )
    print_approval(console, manifest)
    table = columns("The pool, USD", "", "", left=1)
    for row in _totals(totals):
        table.add_row(*row)
    table.add_row("digest of all results", manifest["digest"][:16])
    console.print(table, highlight=False)
    if unlike := totals["unlike_book"]:
        console.print(
            f"{unlike:,} accounts hold claims worth more than ten times their collateral in the "
            "book: see whether quantities are in units of the token, not in its base units",
            highlight=False,
            soft_wrap=True,
        )
    outcomes = columns("Claims that do not count, and why", "claims", "outcome", "", left=0)
    for column, justify in zip(outcomes.columns, ("right", "left", "left"), strict=True):
        column.justify = justify  # type: ignore[assignment]  # of the three that rich knows
    for name, count in totals["outcomes"].items():
        if count and name != Outcome.COUNTED.name:
            outcomes.add_row(f"{count:,}", name, REASONS[Outcome[name]])
    console.print(outcomes, highlight=False)
    found = columns("Counted twice, found and left out", "", "found", left=1)
    for name, words in DOUBLE_COUNTS.items():
        found.add_row(words, f"{totals['double_counts'][name]:,}")
    console.print(found, highlight=False)
    print_stages(console, manifest)


def _totals(totals: dict[str, Any]) -> list[tuple[str, str]]:
    misplaced = f", {totals['misplaced']:,} of them misplaced" if totals["misplaced"] else ""
    held = f" ({totals['held']:,} held back{misplaced})" if totals["held"] else ""
    lost = 1.0 - totals["credit"] / totals["value"] if totals["value"] > 0.0 else 0.0
    return [
        ("accounts pooled", f"{totals['pooled']:,}{held}"),
        ("claims that count", f"{totals['counted']:,} of {totals['claims']:,}"),
        ("what counts, at mark, less debts", short(totals["value"])),
        ("credit now", f"{short(totals['credit'])}, {lost:.1%} less"),
        ("scenarios", f"{totals['scenarios']:,}"),
        ("requirement of the margin run", short(totals["requirement_margined"])),
        ("of positions alone, these scenarios, all netted", short(totals["requirement_alone"])),
        ("the same with collateral inside the scenarios", short(totals["requirement"])),
        (
            "shortfall of positions alone, fixed haircuts",
            f"{short(totals['shortfall_alone'])} in {totals['below_alone']:,} accounts",
        ),
        (
            "shortfall, the larger of margin run and pool",
            f"{short(totals['shortfall'])} in {totals['below']:,} accounts",
        ),
    ]
