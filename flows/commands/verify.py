"""The command ``verify``: whether a published run is what its inputs lead to, and whole."""

import secrets
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.markup import escape

from flows.commands.shared import CONSOLE, Json, Runs, print_json
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
    sample: int = 200,
    seed: int | None = None,
    runs: Runs = None,
    pools: str | None = None,
    stresses: str | None = None,
    reverses: str | None = None,
    json: Json = False,
) -> None:
    """Read a run again, sum it again, and compute a sample of its accounts again.

    Exits with 1 where anything differs, and names it. Runs of other kinds than margin are read and
    summed again; no account of theirs is computed.

    Args:
        run: name of a margin, collateral, stress or reverse stress run, or a start of it
        sample: accounts to compute again, drawn at random
        seed: seed of the sample; one is drawn and printed when left out
        runs: folder of the margin runs, or s3://bucket/prefix; runs of the data folder
        pools: folder of the collateral runs, or s3://bucket/prefix; pools of the data folder
        stresses: folder of the stress runs, or s3://bucket/prefix; stresses of the data folder
        reverses: folder of the reverse stresses, or s3://bucket/prefix; reverses of the data folder
        json: print the checks as JSON
    """
    from flows.stores import store_of
    from workers.verify import differences

    if sample < 0:
        raise ValueError(f"sample is {sample}; allowed is a number of accounts, 0 or more")
    store, run_id = store_of(
        Settings.given(runs=runs, pools=pools, stresses=stresses, reverses=reverses), run
    )
    checks = _checks(store, run_id, sample, secrets.randbits(32) if seed is None else seed)
    found = differences(checks)
    if json:
        print_json({"run_id": run_id, "verified": not found, "checks": [asdict(c) for c in checks]})
    else:
        _print_checks(run_id, checks, found)
    if found:
        sys.exit(1)


def _checks(store: "RunStore", run_id: str, sample: int, seed: int) -> "list[Check]":
    from workers.verify import verify_collateral, verify_margin, verify_reverse, verify_stress

    if store.kind.name == "margin":
        return verify_margin(store, run_id, sample, seed)
    verified = {
        "collateral": verify_collateral,
        "stress": verify_stress,
        "reverse": verify_reverse,
    }
    return verified[store.kind.name](store, run_id)


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
