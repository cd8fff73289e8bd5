"""The two wide tasks of a run: price a block of the cube, and margin a shard of accounts."""

import functools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from risk.aggregation import account_arrays
from risk.collateral import AssetHoldings
from risk.instruments import Instruments, MarketState
from risk.margin import HELD, AccountMargin, Holdings, Revaluation, margin_accounts
from risk.measures import Measure
from risk.methodology import Methodology
from risk.scan.scenarios import ScanAxis
from risk.scenarios.shocks import Shocks
from risk.summation import BLOCK_ACCOUNTS, sum_by_group
from storage.arrays import ACCOUNTS, BLOCKS
from storage.book import Book
from storage.objects import S3Folder
from storage.staging import Fork
from workers.revaluation import price_cube
from workers.shards import Shard


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task brings back: its fork, and what it cost."""

    fork: Fork
    shard: Shard
    items: int
    held: int
    busy_seconds: float


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
    return TaskResult(inputs.fork, block, pnl.size, 0, time.perf_counter() - started)


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


def margin_shard(inputs: MarginInputs, shard: Shard) -> TaskResult:
    """Margin a shard of accounts and write its rows to their own chunks."""
    started = time.perf_counter()
    book = _open_book(inputs.book, inputs.book_digest)
    holdings = read_holdings(book, shard, inputs.lot_size, inputs.asset_value, inputs.asset_priced)
    margin = _margin(inputs, holdings)
    arrays = account_arrays(margin)
    inputs.fork.write("accounts", {v.name: arrays[v.name] for v in ACCOUNTS}, shard.start)
    blocks = {v.name: arrays[v.name] for v in BLOCKS}
    inputs.fork.write("blocks", blocks, shard.start // BLOCK_ACCOUNTS)
    held = int(np.count_nonzero(margin.status == HELD))
    busy = time.perf_counter() - started
    return TaskResult(inputs.fork, shard, len(holdings), held, busy)


def read_holdings(
    book: Book,
    shard: Shard,
    lot_size: NDArray[np.float64],
    asset_value: NDArray[np.float64],
    asset_priced: NDArray[np.bool_],
) -> Holdings:
    """Read what a run of accounts holds, with collateral at what its assets add to equity."""
    positions = book.position_slice(shard.start, shard.stop)
    collateral = book.collateral_slice(shard.start, shard.stop)
    accounts = shard.stop - shard.start
    owner = np.repeat(np.arange(accounts), np.diff(collateral.offsets))
    value = sum_by_group(collateral.quantity * asset_value[collateral.asset], owner, accounts)
    unpriced = np.bincount(owner[~asset_priced[collateral.asset]], minlength=accounts) > 0
    table = book.account_table(shard.start, shard.stop)
    return Holdings(
        offsets=positions.offsets,
        instrument=positions.instrument,
        quantity=positions.lots * lot_size[positions.instrument],
        margin_mode=table["margin_mode"].to_numpy(),
        collateral=value,
        held=book.held(shard.start, shard.stop) | unpriced,
        assets=AssetHoldings(collateral.offsets, collateral.asset, collateral.quantity),
    )


def _margin(inputs: MarginInputs, holdings: Holdings) -> AccountMargin:
    arguments = (holdings, inputs.revaluation, inputs.methodology, inputs.measures)
    if inputs.threads == 1:
        return margin_accounts(*arguments)
    with ThreadPoolExecutor(inputs.threads) as pool:
        return margin_accounts(*arguments, map_blocks=pool.map)


@functools.lru_cache(maxsize=2)
def _open_book(path: Path | S3Folder, digest: str) -> Book:
    book = Book.open(path)
    if book.digest != digest:
        raise ValueError(
            f"book {path} has digest {book.digest[:12]}, the run was planned on {digest[:12]}; "
            "a book must not change under a run"
        )
    return book
