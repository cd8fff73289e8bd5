"""An earlier run whose numbers are kept where nothing they depend on has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.aggregation import account_arrays
from risk.kernels import require_exact
from risk.margin import (
    Holdings,
    Revaluation,
    changed_accounts,
    changed_instruments,
    margin_accounts,
)
from risk.measures import Measure
from risk.methodology import Methodology
from risk.summation import BLOCK_ACCOUNTS, offsets_of_blocks
from storage.arrays import ACCOUNTS, BLOCKS
from storage.book import Book, BookError
from storage.objects import S3Folder
from storage.rows import StoredRows
from storage.runs import Run, RunStore
from workers.code_version import code_version
from workers.collateral import counted_assets
from workers.inputs import BookChanged, book_of
from workers.plan import Plan
from workers.revaluation import revaluation_of_run
from workers.shards import Shard

Floats = NDArray[np.float64]

MOST = 0.5
"""Share of the accounts of a shard that changed, above which all of it is margined again."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a task needs of an earlier run, and what is valued otherwise since.

    ``instruments`` ``(instrument,)`` and ``assets`` ``(asset,)`` mark what accounts must not hold
    if their numbers are to be kept.
    """

    run_id: str
    book: Path | S3Folder
    book_digest: str
    revaluation: Revaluation
    lot_size: Floats
    asset_value: Floats
    asset_priced: NDArray[np.bool_]
    accounts: StoredRows
    blocks: StoredRows
    instruments: NDArray[np.bool_]
    assets: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Since:
    """What a run says of the one it was asked to go on from: why nothing of it is kept, if so."""

    run_id: str
    reason: str = ""


def find_earlier(
    plan: Plan, store: RunStore, name: str, now: Revaluation
) -> tuple[Since, Earlier | None]:
    """Find what of a published run can be kept.

    Raises:
        UnknownRun: no run of that name has been published.
    """
    run = store.open(name)
    book, reason = _book_then(plan, run)
    if book is None:
        return Since(run.run_id, reason), None
    then = revaluation_of_run(run, book, plan.methodology)
    instruments = changed_instruments(then, now)
    if instruments is None:
        return Since(run.run_id, "the market moves more than the value of instruments"), None
    index: dict[str, float] = run.manifest["index"]
    assets_then = counted_assets(book.assets(), index, plan.methodology.collateral)
    assets_now = counted_assets(plan.book.assets(), plan.index, plan.methodology.collateral)
    differs = (assets_then.value != assets_now.value) | (assets_then.priced != assets_now.priced)
    earlier = Earlier(
        run_id=run.run_id,
        book=book.location,
        book_digest=book.digest,
        revaluation=then,
        lot_size=book.instruments()["lot_size"].to_numpy(),
        asset_value=assets_then.value,
        asset_priced=assets_then.priced,
        accounts=store.rows(run.run_id, "accounts"),
        blocks=store.rows(run.run_id, "blocks"),
        instruments=instruments,
        assets=differs,
    )
    return Since(run.run_id), earlier


def _book_then(plan: Plan, run: Run) -> tuple[Book | None, str]:
    """Return the book of a run whose numbers mean what those of the plan will, or why not."""
    inputs, named = run.manifest["inputs"], plan.identity.named
    if run.manifest["code_version"] != code_version():
        return None, "another version of this program made it"
    if inputs["methodology"]["digest"] != named.digest:
        return None, f"it was made by {inputs['methodology']['name']}, or with other events"
    if run.scenarios["scenario"].values.tolist() != plan.scenarios["scenario"].values.tolist():
        return None, "its scenarios are others"
    try:
        book = book_of(run)
    except (BookError, BookChanged) as fault:
        return None, str(fault)
    for what, then, now in (
        ("instruments", book.instruments()["instrument"], plan.book.instruments()["instrument"]),
        ("assets", _names(book), _names(plan.book)),
    ):
        if not then.equals(now):
            return None, f"its book has other {what}"
    return book, ""


def _names(book: Book) -> Any:
    return book.assets().drop_columns(["haircut"])


def same_accounts(then: Book, now: Book, shard: Shard) -> bool:
    """Tell whether the rows of a shard are the accounts of the same names in both books."""
    if shard.stop > then.accounts:
        return False
    if then.holds_the_same(now, "accounts", shard.start, shard.stop):
        return True  # without a look at the names
    names = (book.account_table(shard.start, shard.stop, ["account"]) for book in (then, now))
    return bool(next(names).equals(next(names)))


def margin_since(
    earlier: Earlier,
    then: Holdings,
    now: Holdings,
    shard: Shard,
    revaluation: Revaluation,
    methodology: Methodology,
    measures: Sequence[Measure],
) -> tuple[dict[str, NDArray[Any]], int] | None:
    """Return the arrays of a shard and how many accounts were kept; None if too many changed.

    An account is kept with every number it had. Sums over a block are what they were, less what
    the changed accounts added then, plus what they add now, and sums are exact.

    Raises:
        ValueError: SUM_TOO_LARGE, as ``margin_accounts``.
    """
    chosen = np.flatnonzero(changed_accounts(then, now, earlier.instruments, earlier.assets))
    if len(chosen) > MOST * len(now):
        return None
    blocks = (shard.start // BLOCK_ACCOUNTS, -(-shard.stop // BLOCK_ACCOUNTS))
    arrays: dict[str, NDArray[Any]] = {
        **earlier.accounts.between(shard.start, shard.stop),
        **earlier.blocks.between(*blocks),
    }
    if len(chosen):
        offsets = offsets_of_blocks(chosen, blocks[1] - blocks[0])
        gone, come = (
            account_arrays(
                margin_accounts(
                    holdings.take(chosen), priced, methodology, measures, block_offsets=offsets
                )
            )
            for holdings, priced in ((then, earlier.revaluation), (now, revaluation))
        )
        for variable in ACCOUNTS:
            arrays[variable.name][chosen] = come[variable.name]
        for variable in BLOCKS:
            name = variable.name
            arrays[name] = arrays[name] - gone[name] + come[name]
            if arrays[name].dtype.kind == "f":
                require_exact(name, arrays[name])
    return arrays, len(now) - len(chosen)
