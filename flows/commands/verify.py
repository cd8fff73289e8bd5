"""The command ``verify``: whether a published run is what its inputs lead to, and whole."""

import secrets
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.markup import escape

from flows.commands.shared import CONSOLE, MESSAGES, Json, Runs, print_json
from flows.settings import Settings
from flows.tables import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.runs import RunStore
    from workers.verify import Check

DIFFERENCES_SHOWN = 20


def verify(
    run: str = "latest",
    *,
    sample: int | None = None,
    seed: int | None = None,
    runs: Runs = None,
    pools: str | None = None,
    stresses: str | None = None,
    reverses: str | None = None,
    json: Json = False,
) -> None:
    """Read a run again, sum it again, and compute a sample of it again.

    Exits with 1 where anything differs, and names it. Of a margin run accounts and a block of them
    are computed again, of a collateral run a block, of a stress run scenarios, of a reverse stress
    what the shocks that were found come to.

    Args:
        run: name of a margin, collateral, stress or reverse stress run, or a start of it
        sample: accounts (200 when left out) or scenarios (2) to compute again, drawn at random
        seed: seed of what is drawn; one is drawn and printed when left out
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
        stresses: folder of the stress runs, or s3://bucket/prefix; stresses of the data folder
        reverses: folder of the reverse stresses, or s3://bucket/prefix; reverses of the data folder
        json: print the checks as JSON
    """
    if sample is not None and sample < 0:
        raise ValueError(
            f"sample is {sample}; allowed is a number of accounts or scenarios, 0 or more"
        )
    if seed is not None and seed < 0:
        raise ValueError(f"seed is {seed}; allowed is a whole number, 0 or more")
    settings = Settings.given(runs=runs, pools=pools, stresses=stresses, reverses=reverses)
    drawn = secrets.randbits(32) if seed is None else seed
    with MESSAGES.status("read the run, and compute it again"):
        from flows.stores import store_of
        from workers.verify import differences

        store, run_id = store_of(settings, run)
        checks = _checks(store, run_id, settings, sample, drawn)
        found = differences(checks)
    if json:
        print_json({"run_id": run_id, "verified": not found, "checks": [asdict(c) for c in checks]})
    else:
        _print_checks(run_id, checks, found)
    if found:
        sys.exit(1)


def _checks(
    store: "RunStore", run_id: str, settings: Settings, sample: int | None, seed: int
) -> "list[Check]":
    from flows.stores import is_there, store_at
    from storage.arrays import MARGIN, POOL
    from storage.runs import RunStore
    from workers.verify import (
        ACCOUNTS,
        SCENARIOS,
        verify_collateral,
        verify_margin,
        verify_reverse,
        verify_stress,
    )

    if store.kind.name == "margin":
        return verify_margin(store, run_id, ACCOUNTS if sample is None else sample, seed)
    margined = store_at(settings.runs, MARGIN)
    if store.kind.name == "stress":
        there = is_there(settings.pools)
        return verify_stress(
            store,
            run_id,
            margined,
            RunStore(settings.pools, POOL) if there else None,
            SCENARIOS if sample is None else sample,
            seed,
        )
    if store.kind.name == "collateral":
        return verify_collateral(store, run_id, margined, seed)
    return verify_reverse(store, run_id, margined)


def _print_checks(run_id: str, checks: "Sequence[Check]", found: list[str]) -> None:
    table = columns(f"Checks of {run_id}", "check", "what", "differences", left=2)
    table.columns[1].no_wrap, table.columns[1].overflow = False, "fold"
    for check in checks:
        table.add_row(check.name, escape(check.checked), f"{len(check.differences):,}")
    CONSOLE.print(table, highlight=False)
    for one in found[:DIFFERENCES_SHOWN]:
        CONSOLE.print(f"[bold red]differs[/] {escape(one)}", highlight=False, soft_wrap=True)
    if len(found) > DIFFERENCES_SHOWN:
        CONSOLE.print(f"and {len(found) - DIFFERENCES_SHOWN:,} more; --json lists them")
    if not found:
        CONSOLE.print("[bold green]verified[/]: nothing differs", highlight=False)
