"""Margin systems, layers and walls of a stress run in the terminal."""

import numpy as np
import xarray as xr
from rich.console import Console
from rich.markup import escape

from flows.format import short
from flows.tables import columns


def print_systems(console: Console, scenarios: int, totals: xr.Dataset) -> None:
    """Print which systems would have held and at what capital; nothing where none was compared.

    ``scenarios`` is how many there are: those that break more than prices are not compared.
    """
    if "arrangement" not in totals.dims:
        return
    names = [str(name) for name in totals["compared"].values]
    kinds = np.array(totals["arrangement_kind"].values.tolist())
    table = columns(
        "Margin systems with what each requires and no more, nobody closed, USD",
        *("system", "capital", "scenarios held", "largest uncovered", "over what is prefunded"),
        "in",
    )
    table.columns[-1].justify = "left"
    for row in np.flatnonzero(kinds == "system").tolist():
        one = totals.isel(arrangement=row)
        worst = int(one["arrangement_uncovered"].values.argmax())
        table.add_row(
            *_cells(one),
            short(float(one["arrangement_uncovered"].values[worst])),
            short(float(one["arrangement_beyond"].values[worst])),
            escape(names[worst]),
        )
    console.print(table, highlight=False)
    if len(names) < scenarios:
        console.print(
            f"{scenarios - len(names):,} scenarios that break more than prices are left out of "
            "this comparison",
            highlight=False,
        )
    _print_parts(console, totals, kinds)


def _print_parts(console: Console, totals: xr.Dataset, kinds: np.ndarray) -> None:
    """Print layered margin without each layer and with each wall, in its own worst scenario."""
    parts = np.flatnonzero(np.isin(kinds, ("layer", "blind wall", "wall"))).tolist()
    layered = totals.isel(arrangement=int(np.flatnonzero(kinds == "system")[-1]))
    if not parts:
        return
    table = columns(
        "Layered margin without a layer, or with a wall, USD",
        *("", "capital", "scenarios held", "most it adds to uncovered"),
    )
    for row in parts:
        one = totals.isel(arrangement=row)
        added = one["arrangement_uncovered"].values - layered["arrangement_uncovered"].values
        table.add_row(*_cells(one), short(float(added.max())))
    console.print(table, highlight=False)


def _cells(one: xr.Dataset) -> tuple[str, str, str]:
    beyond = one["arrangement_beyond"].values
    return (
        escape(str(one["arrangement"].item())),
        short(float(one["arrangement_capital"])),
        f"{int((beyond == 0.0).sum())} of {len(beyond)}",
    )
