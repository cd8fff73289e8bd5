"""Verify a collateral run: its inputs, its sums, and a block of its accounts."""

from storage.runs import RunStore, StoredRun
from workers.verify.checks import Check, attempted, checked_run, drawn_block
from workers.verify.pooled_again import PooledAgain


def verify_collateral(store: RunStore, name: str, runs: RunStore, seed: int = 0) -> list[Check]:
    """Read a collateral run again, sum it again, and compute a block of its accounts again.

    ``runs`` has the margin run that it rests on.

    Raises:
        UnknownRun: no run of that name has been published.
    """

    def further(run: StoredRun) -> list[Check]:
        again = PooledAgain(run, runs)
        accounts = run.groups["accounts"].sizes["account"]
        block, drawn = drawn_block(accounts, seed)
        return [
            attempted("inputs", "book, claims, margin run, rules", again.inputs),
            attempted("sums", f"{accounts:,} accounts", lambda: again.sums(store)),
            attempted("block", drawn, lambda: again.block(block)),
        ]

    return checked_run(store, name, further)
