"""What ``explain`` prints where no scenario sets the requirement, and of each leg alone."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from flows.tables import columns


def print_legs(console: Console, explained: dict[str, Any], shown: int | None) -> None:
    """Print what each position would need alone, and what the account's offsets are worth."""
    legs = explained["legs"]
    if not legs:
        return
    ruled = "rule" in legs[0]
    table = columns(
        "Each position alone, largest first",
        *("instrument", "requirement", "maintenance", *(("rule", "whose") if ruled else ())),
    )
    for column in table.columns[3:]:
        column.justify = "left"
    for leg in sorted(legs, key=lambda leg: -leg["requirement"])[:shown]:
        rule = leg.get("rule", {})
        cells = (str(rule["form"]).replace("_", " "), _whose(rule)) if ruled else ()
        amounts = (f"{leg['requirement']:,.2f}", f"{leg['maintenance']:,.2f}")
        table.add_row(escape(leg["instrument"]), *amounts, *cells)
    total = sum(leg["requirement"] for leg in legs)
    table.add_row("[bold]all, added up[/]", f"{total:,.2f}")
    # What is left of sums that cancel is rounding, far below a cent.
    asked = explained["requirement"] - explained["asked_of_collateral"]
    offsets = round(total - asked, 2) + 0.0
    table.add_row("worth of offsets", f"{offsets:,.2f}")
    console.print(table, highlight=False)
    if ruled:
        ours = sum(leg["rule"]["by_choice"] for leg in legs)
        console.print(
            f"{ours:,} of {len(legs):,} positions are under a rule of ours, for the venue has none",
            highlight=False,
        )
        if explained["rule_book"]["kind"] != "protocol":
            console.print(
                "equity has options at their marks and these rules give no credit for them: a long "
                "option asks for its own value, a short one for its margin without its mark",
                highlight=False,
                soft_wrap=True,
            )


def _whose(rule: dict[str, Any]) -> str:
    """Return whose rule it is: a source, and that it is ours where it is."""
    source = escape(str(rule["source"]))
    ours = rule["by_choice"] and not source.startswith("ours")
    return f"ours: {source}" if ours else source


def print_sensitivities(
    console: Console, netting_sets: list[dict[str, Any]], shown: int | None
) -> None:
    """Print the sensitivities of each netting set to each coin, and the layers they come to."""
    table = columns(
        "Sensitivities to relative moves: weighted = delta x weight x concentration",
        *("netting set", "coin", "bucket", "delta", "weight", "concentration", "weighted"),
        *("vega", "curvature up", "down"),
        left=3,
    )
    for one in netting_sets[:shown]:
        for row in one["underlyings"]:
            table.add_row(
                *(_set_name(one["instruments"]), escape(row["underlying"]), escape(row["bucket"])),
                *(f"{row['delta']:,.2f}", f"{row['delta_weight']:.2f}"),
                *(f"{row['delta_concentration']:.3f}", f"{row['weighted_delta']:,.2f}"),
                *(f"{row[name]:,.2f}" for name in ("vega", "curvature_up", "curvature_down")),
            )
    console.print(table, highlight=False)
    layers = list(netting_sets[0]["layers"]) if netting_sets else []
    table = columns("Margin of each netting set", "netting set", *layers)
    for one in netting_sets[:shown]:
        amounts = (f"{one['layers'][layer]:,.2f}" for layer in layers)
        table.add_row(_set_name(one["instruments"]), *amounts)
    sums = (sum(one["layers"][layer] for one in netting_sets) for layer in layers)
    table.add_row("[bold]all[/]", *(f"{amount:,.2f}" for amount in sums))
    console.print(table, highlight=False)


def print_reported(console: Console, netting_sets: list[dict[str, Any]], shown: int | None) -> None:
    """Print the worst scenario of each netting set by measures that set no layer."""
    table = columns(
        "Reported only: worst named event by netting set",
        *("netting set", "event", "loss"),
        left=2,
    )
    for one in netting_sets[:shown]:
        for measure in one["measures"]:
            if measure["scenarios"]:
                name = escape(measure["scenarios"][0]["scenario"])
                loss = f"{measure['value']:,.2f}"
                table.add_row(_set_name(one["instruments"]), name, loss)
    if table.row_count:
        console.print(table, highlight=False)


def _set_name(instruments: list[str]) -> str:
    return escape(instruments[0]) if len(instruments) == 1 else f"{len(instruments)} positions"
