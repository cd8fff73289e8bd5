"""The wide tasks of a stress run: a round of a shard's accounts, and their losses at the end."""

import functools
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from risk.systemic.cascade import LiquidationRules, Round, cascade_round
from risk.systemic.requirement import UnitMaintenance
from risk.systemic.settlement import Losses, settle
from risk.systemic.stressed import Liquidated, StressedAccounts
from risk.systemic.winners import Bankrupt, Line, line_up
from storage.book import Book
from storage.objects import S3Folder
from storage.rows import StoredRows
from workers.memory import process_peak_bytes
from workers.shards import Shard
from workers.stress.disruptions import Impairment, disrupted

Floats = NDArray[np.float64]

LEFT_OUT = np.int32(-1)
"""The group of an account that is held back."""


@dataclass(frozen=True, slots=True)
class StressInputs:
    """What every task of a round shares.

    ``margin`` are the accounts of the margin run ``run_id``. ``cube`` ``(instrument, scenario)`` is
    P&L of one contract from first prices to those of the round, ``active`` ``(scenario,)`` where it
    goes on; ``unit`` where maintenance follows prices. ``at_bankruptcy`` as ``cascade_round``.
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
    at_bankruptcy: bool = False
    unit: UnitMaintenance | None = None
    impairment: Impairment | None = None


@dataclass(frozen=True, slots=True)
class LineInputs:
    """What every task shares that looks for winners: the prices of the end are those of ``stress``.

    ``bankrupt`` is what they have to close against, in the same scenarios.
    """

    stress: StressInputs
    bankrupt: Bankrupt
    ranking: str


@dataclass(frozen=True, slots=True)
class StressItem:
    """A shard and what became of its accounts so far; ``turn`` as ``cascade_round``."""

    shard: Shard
    state: Liquidated
    turn: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None


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


@dataclass(frozen=True, slots=True)
class LineResult:
    """Who of a shard may have to close against what is bankrupt."""

    index: int
    line: Line
    peak_bytes: int


def stress_shard(inputs: StressInputs, item: StressItem) -> RoundResult:
    """Close what is below maintenance in a shard at the prices of a round."""
    accounts = accounts_of(inputs, item.shard)
    done = cascade_round(
        accounts, item.state, inputs.cube, inputs.notional, inputs.active, inputs.rules,
        inputs.unit, at_bankruptcy=inputs.at_bankruptcy, turn=item.turn,
    )  # fmt: skip
    return RoundResult(item.shard.index, done, process_peak_bytes())


def settle_shard(inputs: StressInputs, item: StressItem) -> LossResult:
    """Add up what the accounts of a shard lost."""
    losses = settle(accounts_of(inputs, item.shard), item.state, inputs.cube, inputs.groups)
    return LossResult(item.shard.index, losses, process_peak_bytes())


def line_up_shard(inputs: LineInputs, item: StressItem) -> LineResult:
    """Find who of a shard may have to close against what is bankrupt."""
    shared, shard = inputs.stress, item.shard
    line = line_up(
        accounts_of(shared, shard), item.state, shared.cube, shared.notional, inputs.bankrupt,
        inputs.ranking, shard.start, unit=shared.unit,
    )  # fmt: skip
    return LineResult(shard.index, line, process_peak_bytes())


_KEPT: dict[tuple[str, str, int, int], StressedAccounts] = {}
"""Accounts of the shards that this process has read last, for they come again in every round."""

KEPT_SHARDS = 16

_KEEPING = threading.Lock()
"""Tasks of one process may be threads."""


def accounts_of(inputs: StressInputs, shard: Shard) -> StressedAccounts:
    """Return the accounts of a shard; those that this process read last are kept.

    With an ``impairment``, collateral is that of the round. Threads that ask at once for what is
    not kept read it each.
    """
    key = (inputs.book_digest, inputs.run_id, shard.start, shard.stop)
    with _KEEPING:
        accounts = _KEPT.get(key)
    if accounts is None:
        accounts = _read(inputs, shard)
        with _KEEPING:
            _KEPT[key] = accounts
            while len(_KEPT) > KEPT_SHARDS:
                del _KEPT[next(iter(_KEPT))]
    if inputs.impairment is None:
        return accounts
    book = _open(inputs.book, inputs.book_digest)
    return disrupted(accounts, book, shard.start, shard.stop, inputs.impairment)


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
