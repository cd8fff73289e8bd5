"""Verify a collateral run: its inputs, its sums, and a block of its accounts."""

from storage.runs import RunStore
from workers.verify.checks import Check, attempted, checks_of_storage, drawn_block
from workers.verify.pooled_again import PooledAgain


def verify_collateral(store: RunStore, name: str, runs: RunStore, seed: int = 0) -> list[Check]:
    """Read a collateral run again, sum it again, and compute a block of its accounts again.

    ``runs`` has the margin run that it rests on.

    Raises:
        UnknownRun: no run of that name has been published.
    """
    run = store.read(name)
    again = PooledAgain(run, runs)
    accounts = run.groups["accounts"].sizes["account"]
    block, drawn = drawn_block(accounts, seed)
    return [
        *checks_of_storage(store, run.run_id),
        attempted("inputs", "book, claims, margin run, rules", again.inputs),
        attempted("sums", f"{accounts:,} accounts", lambda: again.sums(store)),
        attempted("block", drawn, lambda: again.block(block)),
    ]
