"""The wide tasks of a stress run: a round of a shard's accounts, and their losses at the end."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from risk.systemic.cascade import (
    Liquidated,
    LiquidationRules,
    Losses,
    Round,
    StressedAccounts,
    cascade_round,
    settle,
)
from storage.book import Book
from storage.objects import S3Folder
from storage.rows import StoredRows
from workers.memory import process_peak_bytes
from workers.shards import Shard

Floats = NDArray[np.float64]

LEFT_OUT = np.int32(-1)
"""The group of an account that is held back."""


@dataclass(frozen=True, slots=True)
class StressInputs:
    """What every task of a round shares.

    ``margin`` are the accounts of the margin run ``run_id``. ``cube`` ``(instrument, scenario)`` is
    P&L of one contract from first prices to those of the round, ``active`` ``(scenario,)`` where it
    goes on.
    """

    book: Path | S3Folder
    book_digest: str
    run_id: str
    margin: StoredRows
    lot_size: Floats
    notional: Floats
    cube: Floats
    active: NDArray[np.bool_]
    rules: LiquidationRules
    groups: int


@dataclass(frozen=True, slots=True)
class StressItem:
    """A shard and what became of its accounts so far."""

    shard: Shard
    state: Liquidated


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a round did to a shard."""

    index: int
    round: Round
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class LossResult:
    """What a shard lost."""

    index: int
    losses: Losses
    peak_bytes: int


def stress_shard(inputs: StressInputs, item: StressItem) -> RoundResult:
    """Close what is below maintenance in a shard at the prices of a round."""
    accounts = stressed_accounts(inputs, item.shard)
    done = cascade_round(
        accounts, item.state, inputs.cube, inputs.notional, inputs.active, inputs.rules
    )
    return RoundResult(item.shard.index, done, process_peak_bytes())


def settle_shard(inputs: StressInputs, item: StressItem) -> LossResult:
    """Add up what the accounts of a shard lost."""
    losses = settle(stressed_accounts(inputs, item.shard), item.state, inputs.cube, inputs.groups)
    return LossResult(item.shard.index, losses, process_peak_bytes())


_KEPT: dict[tuple[str, str, int, int], StressedAccounts] = {}
"""Accounts of the shards that this process has read last, for they come again in every round."""

KEPT_SHARDS = 16


def stressed_accounts(inputs: StressInputs, shard: Shard) -> StressedAccounts:
    """Return the accounts of a shard as the margin run left them."""
    key = (inputs.book_digest, inputs.run_id, shard.start, shard.stop)
    if key not in _KEPT:
        while len(_KEPT) >= KEPT_SHARDS:
            del _KEPT[next(iter(_KEPT))]
        _KEPT[key] = _read(inputs, shard)
    return _KEPT[key]


def _read(inputs: StressInputs, shard: Shard) -> StressedAccounts:
    book = _open(inputs.book, inputs.book_digest)
    positions = book.position_slice(shard.start, shard.stop)
    stored = inputs.margin.between(shard.start, shard.stop, ["equity", "maintenance", "status"])
    known = np.asarray(stored["status"]) == 0
    member = book.account_table(shard.start, shard.stop, ["member"])["member"].to_numpy()
    return StressedAccounts(
        offsets=positions.offsets,
        instrument=positions.instrument,
        quantity=positions.lots * inputs.lot_size[positions.instrument],
        equity=np.where(known, np.asarray(stored["equity"], np.float64), 0.0),
        maintenance=np.where(known, np.asarray(stored["maintenance"], np.float64), 0.0),
        group=np.where(known, member, LEFT_OUT).astype(np.int32),
    )


@functools.lru_cache(maxsize=1)
def _open(path: Path | S3Folder, digest: str) -> Book:
    book = Book.open(path)
    if book.digest != digest:
        raise ValueError(
            f"book {path} has digest {book.digest[:12]}, the run was planned on {digest[:12]}; "
            "a book must not change under a run"
        )
    return book
