"""The order in which a portfolio nests: account, unit of risk, expiry, set, strike, position.

Whatever nets or is charged together lies together in this order, so one pass over an account's
positions serves every level, and a group is a run of positions.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind
from risk.netting import NETTING_KEYS
from risk.scan.specification import ScanSpec

Level = Literal["unit", "expiry", "set", "strike"]


@dataclass(frozen=True, slots=True)
class RiskOrder:
    """Where each instrument stands, ``(instrument,)``: two ranks, and codes of what it is in.

    By ``rank`` an underlying is cut by expiry, its options from what else expires, and those by
    strike. ``rank_in_currency`` cuts it by settlement currency first. Codes say which underlying,
    ``settlement`` of it (in one currency), ``expiry``, ``set`` (an expiry's options apart from what
    else expires) and ``strike`` an instrument is in; none but ``settlement`` looks at the currency.
    """

    rank: NDArray[np.int64]
    rank_in_currency: NDArray[np.int64]
    underlying: NDArray[np.int64]
    settlement: NDArray[np.int64]
    expiry: NDArray[np.int64]
    set: NDArray[np.int64]
    strike: NDArray[np.int64]


def risk_order(instruments: Instruments, currency: NDArray[np.int32]) -> RiskOrder:
    """Return the order of instruments; ``currency`` ``(instrument,)`` codes the settlement."""
    coin, row = instruments.underlying, np.arange(len(instruments))
    within = (instruments.time_to_expiry, instruments.kind == Kind.OPTION, instruments.strike)
    levels = [(coin, *within[:depth]) for depth in range(len(within) + 1)]
    underlying, expiry, options, strike = (_codes(keys) for keys in levels)
    return RiskOrder(
        rank=_codes((coin, *within, currency, row)),
        rank_in_currency=_codes((coin, currency, *within, row)),
        underlying=underlying,
        settlement=_codes((coin, currency)),
        expiry=expiry,
        set=options,
        strike=strike,
    )


def _codes(keys: tuple[NDArray[Any], ...]) -> NDArray[np.int64]:
    """Return the place of each row among the different rows there are, the first key first."""
    by_rank = np.lexsort(keys[::-1])
    changed = np.zeros(len(by_rank), dtype=np.bool_)
    for key in keys:
        changed[1:] |= key[by_rank][1:] != key[by_rank][:-1]
    codes = np.empty(len(by_rank), dtype=np.int64)
    codes[by_rank] = np.cumsum(changed)
    return codes


@dataclass(frozen=True, slots=True)
class Nested:
    """Positions of a run of accounts in risk order.

    ``order`` ``(position,)`` takes positions there; the rest are in that order. ``account`` is
    whose a position is; the offsets cut accounts into units, units into sets and sets into
    positions. ``expiry`` and ``strike`` number the groups of those names.
    """

    order: NDArray[np.int64]
    account: NDArray[np.int64]
    account_units: NDArray[np.int64]
    unit_sets: NDArray[np.int64]
    set_offsets: NDArray[np.int64]
    expiry: NDArray[np.int64]
    strike: NDArray[np.int64]

    @property
    def unit_account(self) -> NDArray[np.int64]:
        """The account of each unit."""
        return np.repeat(np.arange(len(self.account_units) - 1), np.diff(self.account_units))

    @property
    def unit_first(self) -> NDArray[np.int64]:
        """The first position of each unit."""
        return self.set_offsets[self.unit_sets[:-1]]

    def accounts(self, start: int, stop: int) -> tuple["Nested", slice]:
        """Return a run of accounts by itself, and its positions among all of them."""
        units = slice(self.account_units[start], self.account_units[stop])
        sets = slice(self.unit_sets[units.start], self.unit_sets[units.stop])
        rows = slice(self.set_offsets[sets.start], self.set_offsets[sets.stop])
        part = Nested(
            order=self.order[rows],
            account=self.account[rows] - start,
            account_units=self.account_units[start : stop + 1] - units.start,
            unit_sets=self.unit_sets[units.start : units.stop + 1] - sets.start,
            set_offsets=self.set_offsets[sets.start : sets.stop + 1] - rows.start,
            expiry=self.expiry[rows],
            strike=self.strike[rows],
        )
        return part, rows

    def labels(self, level: Level) -> NDArray[np.int64]:
        """Return the number of each position's group at a level."""
        if level == "expiry":
            return self.expiry
        if level == "strike":
            return self.strike
        offsets = self.set_offsets if level == "set" else self.set_offsets[self.unit_sets]
        return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def nest(
    offsets: NDArray[np.int64],
    instrument: NDArray[np.int32],
    key: NDArray[np.int8],
    order: RiskOrder,
    scan: ScanSpec | None = None,
) -> Nested:
    """Return an order of positions in which everything that nets lies together.

    Shapes ``(account+1,), (position,), (account,)``; ``key`` holds rows of ``NETTING_KEYS``: where
    it is ``position`` every position is a unit of its own, where it is ``settlement_currency``
    a unit is one underlying in one currency, and otherwise what ``scan`` says, one underlying
    where there is none. A scan that does nothing to an expiry by itself has one set a unit.
    """
    by_settlement = scan is not None and scan.unit == "underlying_settlement"
    by_set = scan is None or scan.reads_sets
    held = np.diff(offsets)
    account = np.repeat(np.arange(len(held)), held)
    own_key = np.repeat(key, held)
    alone = own_key == NETTING_KEYS.index("position")
    split = alone | by_settlement | (own_key == NETTING_KEYS.index("settlement_currency"))
    rank = np.where(split, order.rank_in_currency[instrument], order.rank[instrument])
    chosen = np.argsort(account * len(order.rank) + rank, kind="stable")
    sorted_rows = instrument[chosen]
    begins = np.zeros(len(account), dtype=np.bool_)
    begins[offsets[:-1][held > 0]] = True

    def starts(code: NDArray[np.int64]) -> NDArray[np.bool_]:
        found = begins.copy()
        ordered = code[sorted_rows]
        found[1:] |= ordered[1:] != ordered[:-1]
        return found

    unit = starts(order.underlying) | alone | (starts(order.settlement) & split)
    expiry, strike = (unit | starts(code) for code in (order.expiry, order.strike))
    sets = unit | starts(order.set) if by_set else unit
    first_of_unit, first_of_set = np.flatnonzero(unit), np.flatnonzero(sets)
    return Nested(
        order=chosen,
        account=account,
        account_units=np.searchsorted(first_of_unit, offsets).astype(np.int64),
        unit_sets=np.append(np.searchsorted(first_of_set, first_of_unit), len(first_of_set)).astype(
            np.int64
        ),
        set_offsets=np.append(first_of_set, len(account)).astype(np.int64),
        expiry=np.cumsum(expiry),
        strike=np.cumsum(strike),
    )
