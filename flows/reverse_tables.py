"""A reverse stress in the terminal."""

from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.format import money, percent, short
from flows.tables import columns, print_approval, print_stages
from storage.runs import StoredRun


def print_reverse(console: Console, run: StoredRun) -> None:
    """Print the shocks that were found, what they cost with and without a cascade, and the time."""
    manifest, found = run.manifest, run.groups["found"].load()
    totals, inputs = manifest["totals"], manifest["inputs"]
    console.print(
        f"[bold]{run.run_id}[/], as of {manifest['as_of']}, published {manifest['created']}",
        highlight=False,
    )
    console.print(
        f"margin run {inputs['run']['run_id']} by {inputs['plan']['name']}; plausibility by "
        f"{totals['windows']:,} windows of history",
        highlight=False,
        markup=False,
    )
    print_approval(console, manifest)
    if totals["accounts_searched"] < totals["accounts"]:
        console.print(
            f"searched on a sample of {totals['accounts_searched']:,} of {totals['accounts']:,} "
            "accounts, scaled up; losses below are of all accounts",
            highlight=False,
        )
    coins = [str(coin) for coin in found["coin"].values]
    table = columns(
        "The most plausible shocks that exhaust a resource",
        *("resource", "amount", "distance", "chance", "as far in history"),
        *(f"{coin}" for coin in coins),
        *(f"vol {coin}" for coin in coins),
    )
    for row, name in enumerate(found["target"].values):
        distance = float(found["distance"].values[row])
        amount = money(float(found["resource"].values[row]))
        if np.isnan(distance):
            table.add_row(escape(str(name)), amount, "out of reach")
            continue
        moves = (*found["price"].values[row], *found["volatility"].values[row])
        table.add_row(
            escape(str(name)),
            amount,
            f"{distance:.2f}",
            f"{float(found['tail_probability'].values[row]):.1g}",
            percent(float(found["empirical_frequency"].values[row])),
            *(percent(float(move)) for move in moves),
        )
    console.print(table, highlight=False)
    for line in out_of_reach(manifest, found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if totals["exhausted"]:
        console.print(_losses(found), highlight=False)
    print_stages(console, manifest)


def out_of_reach(manifest: dict[str, Any], found: xr.Dataset) -> list[str]:
    """Return, of what nothing exhausts, how far the search went and the most that a shock draws."""
    farthest = manifest["totals"].get("farthest")
    return [
        f"{name}: no shock up to a distance of {farthest:g} exhausts it; the most that any of "
        f"those tried draws is {money(float(found['drawn'].values[row]))} of "
        f"{money(float(found['resource'].values[row]))}"
        for row, name in enumerate(found["target"].values)
        if farthest is not None and np.isnan(found["distance"].values[row])
    ]


def _losses(found: xr.Dataset) -> Table:
    """Return what the shocks cost, nobody closed and to the end of the cascade."""
    table = columns(
        "What they cost, USD",
        *("resource", "lost with nobody closed", "uncovered", "drawn", "lost with cascade"),
        *("shortfall", "rounds", "members in default"),
    )
    for row, name in enumerate(found["target"].values):
        if np.isnan(found["distance"].values[row]):
            continue
        table.add_row(
            escape(str(name)),
            *(
                short(float(found[one].values[row]))
                for one in ("lost_alone", "uncovered_alone", "drawn_by_all_accounts", "lost")
            ),
            short(float(found["shortfall"].values[row])),
            f"{int(found['rounds'].values[row])}",
            f"{int(found['defaulted_members'].values[row])}",
        )
    return table
