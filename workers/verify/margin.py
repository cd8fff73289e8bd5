"""Verify a margin run: its inputs, its sums, a block of accounts, and a sample by the reference."""

from storage.runs import Run, RunStore, StoredRun
from workers.verify.accounts import recompute
from workers.verify.checks import Check, attempted, checked_run, drawn_block
from workers.verify.margined_again import MarginedAgain

ACCOUNTS = 200
"""How many accounts are computed again where nobody says."""


def verify_margin(store: RunStore, name: str, sample: int, seed: int) -> list[Check]:
    """Read a margin run again, sum it again, and compute a block and ``sample`` accounts again.

    Raises:
        UnknownRun: no run of that name has been published.
    """

    def further(found: StoredRun) -> list[Check]:
        again = MarginedAgain(Run(found.run_id, found.manifest, found.groups))
        run = again.run
        accounts = run.accounts.sizes["account"]
        instruments, scenarios = run.cube.sizes["instrument"], run.cube.sizes["scenario"]
        block, drawn = drawn_block(accounts, seed)
        return [
            attempted("inputs", "book, market, methodology", again.inputs),
            attempted("scenarios", f"{scenarios:,} drawn again", again.scenarios),
            attempted("market", f"{instruments:,} instruments", again.fitted),
            attempted("cube", f"{instruments:,} instruments priced again", again.cube),
            attempted("sums", f"{accounts:,} accounts", lambda: again.sums(store)),
            attempted("block", f"{drawn}; by the kernels of a run", lambda: again.block(block)),
            recompute(again, sample, seed),
        ]

    return checked_run(store, name, further)
