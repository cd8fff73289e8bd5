"""Verify a collateral run: its inputs and its sums."""

import numpy as np

from risk.claims.tokens import Outcome
from storage.book import Book
from storage.claims import Claims
from storage.runs import RunStore, StoredRun
from workers.engine import SerialEngine
from workers.fold import IncompleteRun
from workers.pool.fold import fold_pool, require_whole_pool
from workers.pool.manifest import totals_of_pool
from workers.verify.checks import Check, attempted, checks_of_storage, unlike


def verify_collateral(store: RunStore, name: str) -> list[Check]:
    """Read a collateral run again and sum it again.

    Raises:
        UnknownRun: no run of that name has been published.
    """
    run = store.read(name)
    totals = run.manifest["totals"]
    counted = f"{totals['accounts']:,} accounts, {totals['claims']:,} claims"
    return [
        *checks_of_storage(store, run.run_id),
        attempted("inputs", "book, claims", lambda: _inputs(run)),
        attempted("sums", counted, lambda: _sums(run, store)),
    ]


def _inputs(run: StoredRun) -> list[str]:
    found = []
    for kind, name in ((Book, "book"), (Claims, "claims")):
        wanted = run.manifest["inputs"][name]
        opened = kind.open(wanted["path"])
        opened.verify()
        if opened.digest != wanted["digest"]:
            found.append(
                f"{name} {opened.location} has digest {opened.digest[:12]}, the run used "
                f"{wanted['digest'][:12]}"
            )
    return found


def _sums(run: StoredRun, store: RunStore) -> list[str]:
    totals = run.manifest["totals"]
    accounts, blocks = (store.rows(run.run_id, group) for group in ("accounts", "blocks"))
    sums = fold_pool(int(totals["accounts"]), accounts, blocks, SerialEngine()).sums
    found = []
    try:
        require_whole_pool(
            sums,
            accounts=int(totals["accounts"]),
            claims=int(totals["claims"]),
            by_outcome=np.array([totals["outcomes"][one.name] for one in Outcome], dtype=np.int64),
        )
    except IncompleteRun as fault:
        found.append(f"sums: {str(fault).removesuffix('; nothing is published, run it again')}")
    return found + unlike("totals", totals, totals_of_pool(sums))
