"""A stress run in the terminal."""

import xarray as xr
from rich.console import Console

from flows.format import short
from flows.stress_systems import print_systems
from flows.tables import columns, print_stages
from storage.runs import StoredRun

SHOWN = 20
"""Scenarios in the table, those of the largest shortfall first."""


def print_stress(console: Console, stress: StoredRun) -> None:
    """Print what each scenario comes to, worst first, and where the time went."""
    manifest = stress.manifest
    console.print(
        f"[bold]{stress.run_id}[/], as of {manifest['as_of']}, published {manifest['created']}",
        highlight=False,
    )
    plan = manifest["inputs"]["plan"]
    console.print(
        f"margin run {manifest['inputs']['run']['run_id']} by {plan['name']} {plan['version']}: "
        f"{plan['title']}",
        highlight=False,
        markup=False,
    )
    found, totals = stress.groups["scenarios"].load(), stress.groups["totals"].load()
    table = columns(
        "Scenarios by shortfall: what nobody's equity covers, USD",
        *("scenario", "rounds", "closed", "sold", "lost", "with nobody closed"),
        *("vault", "uncovered", "with nobody closed"),
    )
    order = (-totals["shortfall"].values).argsort(kind="stable")
    uncovered = found["uncovered"].values.sum(axis=1)
    alone = found["uncovered_alone"].values.sum(axis=1)
    for row in order[:SHOWN].tolist():
        table.add_row(
            str(found["scenario"].values[row]),
            f"{int(found['rounds'].values[row]):,}",
            f"{int(found['touched'].values[row]):,}",
            short(float(totals["sold"].values[row])),
            short(float(found["lost"].values[row])),
            short(float(found["lost_alone"].values[row])),
            short(float(found["vault_pnl"].values[row])),
            short(float(uncovered[row])),
            short(float(alone[row])),
        )
    console.print(table, highlight=False)
    left = len(order) - SHOWN
    if left > 0:
        console.print(f"and {left:,} more scenarios with smaller shortfalls", highlight=False)
    _print_bearers(console, str(found["scenario"].values[order[0]]), totals, int(order[0]))
    print_systems(console, [str(name) for name in found["scenario"].values], totals)
    print_stages(console, manifest)


def _print_bearers(console: Console, name: str, totals: xr.Dataset, row: int) -> None:
    """Print who bears the largest shortfall, layer after layer."""
    table = columns("Who bears it, USD", "layer", name)
    for layer, amount in zip(
        totals["layer"].values, totals["borne"].values[row].tolist(), strict=True
    ):
        table.add_row(str(layer).replace("_", " "), short(amount))
    table.add_row("nobody", short(float(totals["unborne"].values[row])))
    console.print(table, highlight=False)
