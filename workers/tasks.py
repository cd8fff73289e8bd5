"""The two wide tasks of a run: price a block of the cube, and margin a shard of accounts."""

import functools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.aggregation import account_arrays
from risk.collateral import AssetHoldings
from risk.instruments import Instruments, MarketState
from risk.margin import Holdings, Revaluation, margin_accounts
from risk.measures import Measure
from risk.methodology import Methodology
from risk.scan.scenarios import ScanAxis
from risk.scenarios.shocks import Shocks
from risk.summation import BLOCK_ACCOUNTS, sum_by_group
from storage.arrays import ACCOUNTS, BLOCKS
from storage.book import Book
from storage.objects import S3Folder
from storage.staging import Fork
from workers.earlier import Earlier, margin_since, same_accounts
from workers.memory import process_peak_bytes
from workers.revaluation import price_cube
from workers.shards import Shard


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task brings back: its fork, what it cost, and how many items it did not compute.

    ``peak_bytes`` is the most that the process that did it has had resident.
    """

    fork: Fork
    shard: Shard
    items: int
    kept: int
    busy_seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class CubeInputs:
    """What every pricing task shares."""

    instruments: Instruments
    market: MarketState
    shocks: Shocks
    methodology: Methodology
    axis: ScanAxis | None
    fork: Fork


def price_block(inputs: CubeInputs, block: Shard) -> TaskResult:
    """Price a block of instruments under every scenario and write it to its own chunk."""
    started = time.perf_counter()
    rows = slice(block.start, block.stop)
    state = inputs.market
    market = MarketState(
        state.index, state.forward[rows], state.volatility[rows], state.priced[rows]
    )
    pnl = price_cube(
        inputs.instruments.take(rows), market, inputs.shocks, inputs.methodology, inputs.axis
    )
    inputs.fork.write("cube", {"pnl": pnl}, block.start)
    busy = time.perf_counter() - started
    return TaskResult(inputs.fork, block, pnl.size, 0, busy, process_peak_bytes())


@dataclass(frozen=True, slots=True)
class MarginInputs:
    """What every margin task shares; assets are those of ``workers.collateral``."""

    book: Path | S3Folder
    book_digest: str
    revaluation: Revaluation
    methodology: Methodology
    measures: Sequence[Measure]
    lot_size: NDArray[np.float64]
    asset_value: NDArray[np.float64]
    asset_priced: NDArray[np.bool_]
    threads: int
    fork: Fork
    earlier: Earlier | None = None


def margin_shard(inputs: MarginInputs, shard: Shard) -> TaskResult:
    """Margin a shard of accounts and write its rows to their own chunks."""
    started = time.perf_counter()
    book = _open_book(inputs.book, inputs.book_digest)
    holdings = read_holdings(book, shard, inputs.lot_size, inputs.asset_value, inputs.asset_priced)
    arrays, kept = _margin_since(inputs, book, shard, holdings) or (_margin(inputs, holdings), 0)
    inputs.fork.write("accounts", {v.name: arrays[v.name] for v in ACCOUNTS}, shard.start)
    blocks = {v.name: arrays[v.name] for v in BLOCKS}
    inputs.fork.write("blocks", blocks, shard.start // BLOCK_ACCOUNTS)
    busy = time.perf_counter() - started
    return TaskResult(inputs.fork, shard, len(holdings), kept, busy, process_peak_bytes())


def read_holdings(
    book: Book,
    shard: Shard,
    lot_size: NDArray[np.float64],
    asset_value: NDArray[np.float64],
    asset_priced: NDArray[np.bool_],
    like: Holdings | None = None,
) -> Holdings:
    """Read what a run of accounts holds, with collateral at what its assets add to equity.

    Of those that are ``like`` others in all but their positions, only these are read.
    """
    positions = book.position_slice(shard.start, shard.stop)
    quantity = positions.lots * lot_size[positions.instrument]
    if like is not None:
        return replace(
            like, offsets=positions.offsets, instrument=positions.instrument, quantity=quantity
        )
    collateral = book.collateral_slice(shard.start, shard.stop)
    accounts = shard.stop - shard.start
    owner = np.repeat(np.arange(accounts), np.diff(collateral.offsets))
    value = sum_by_group(collateral.quantity * asset_value[collateral.asset], owner, accounts)
    unpriced = np.bincount(owner[~asset_priced[collateral.asset]], minlength=accounts) > 0
    table = book.account_table(shard.start, shard.stop, ["margin_mode"])
    return Holdings(
        offsets=positions.offsets,
        instrument=positions.instrument,
        quantity=quantity,
        margin_mode=table["margin_mode"].to_numpy(),
        collateral=value,
        held=book.held(shard.start, shard.stop) | unpriced,
        assets=AssetHoldings(collateral.offsets, collateral.asset, collateral.quantity),
    )


def _margin(inputs: MarginInputs, holdings: Holdings) -> dict[str, NDArray[Any]]:
    """Return the arrays of a shard, every account margined."""
    arguments = (holdings, inputs.revaluation, inputs.methodology, inputs.measures)
    if inputs.threads == 1:
        return account_arrays(margin_accounts(*arguments))
    with ThreadPoolExecutor(inputs.threads) as pool:
        return account_arrays(margin_accounts(*arguments, map_blocks=pool.map))


def _margin_since(
    inputs: MarginInputs, book: Book, shard: Shard, holdings: Holdings
) -> tuple[dict[str, NDArray[Any]], int] | None:
    """Return the arrays of a shard and how many accounts are as they were, if many are."""
    earlier = inputs.earlier
    if earlier is None:
        return None
    before = _open_book(earlier.book, earlier.book_digest)
    if not same_accounts(before, book, shard):
        return None
    as_now = not earlier.assets.any() and all(
        before.holds_the_same(book, dataset, shard.start, shard.stop)
        for dataset in ("accounts", "collateral")
    )
    then = read_holdings(
        before,
        shard,
        earlier.lot_size,
        earlier.asset_value,
        earlier.asset_priced,
        like=holdings if as_now else None,
    )
    rules = (inputs.revaluation, inputs.methodology, inputs.measures)
    return margin_since(earlier, then, holdings, shard, *rules)


@functools.lru_cache(maxsize=2)
def _open_book(path: Path | S3Folder, digest: str) -> Book:
    book = Book.open(path)
    if book.digest != digest:
        raise ValueError(
            f"book {path} has digest {book.digest[:12]}, the run was planned on {digest[:12]}; "
            "a book must not change under a run"
        )
    return book
