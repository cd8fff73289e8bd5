"""Charges on what is held: a rate on an amount, summed within groups, by the side of the sum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.instruments import Instruments, Kind, MarketState, unit_notional
from risk.nesting import Nested
from risk.revaluation import cash_delta
from risk.specification import Fraction, Name, NonNegative, Positive, Specification
from risk.summation import sum_by_group

Floats = NDArray[np.float64]


class TimeScaling(Specification):
    """A rate per year of remaining time, with a least: it takes the place of a rate of 1.

    Each contract's amount is scaled by its own time, before amounts are summed.
    """

    per_year: Annotated[float, Field(ge=0.0, le=10.0)]
    least: Fraction


class Concentration(Specification):
    """Rates grow with size against daily volume: times ``(amount / volume)^exponent``.

    ``daily_volume`` of each underlying is in the unit of the amount.
    """

    exponent: Positive
    daily_volume: dict[str, Positive]


class ChargeSpec(Specification):
    """One charge, and the layer that it goes to.

    The signed ``amount`` of an account's positions is summed within groups, and the ``side`` of
    each sum is taken: ``gross`` its size, ``short`` and ``long`` its size where it has that sign;
    ``matched`` is the lesser of the longs and the shorts among the groups of a unit of risk.
    Rates then apply. An ``addition`` is stacked on the layers before it; a ``floor`` adds what
    it exceeds them by, the floors of one layer being summed first.
    """

    layer: Name
    role: Literal["addition", "floor"] = "addition"
    kinds: Annotated[
        tuple[Literal["spot", "future", "perpetual", "option"], ...], Field(min_length=1)
    ]
    amount: Literal["notional", "delta", "contracts"] = "notional"
    group: Literal["position", "strike", "expiry", "unit"] = "position"
    side: Literal["gross", "short", "long", "matched"] = "gross"
    initial: NonNegative
    maintenance: NonNegative
    by_time: TimeScaling | None = None
    concentration: Concentration | None = None
    below_confidence: Fraction | None = None
    underlyings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_a_fraction(self) -> "ChargeSpec":
        if self.amount != "contracts" and self.initial > 1.0:
            raise ValueError(
                f"layer {self.layer!r}: initial {self.initial:g} is more than the whole "
                f"{self.amount}; a rate is a fraction, 0.01 and not 1"
            )
        return self

    @model_validator(mode="after")
    def _means_something(self) -> "ChargeSpec":
        if self.side == "matched" and self.group == "unit":
            raise ValueError(
                f"layer {self.layer!r}: side 'matched' of group 'unit' is always zero, for a unit "
                "is one sum; use group 'position', 'strike' or 'expiry'"
            )
        if self.concentration is not None and (self.by_time or self.below_confidence is not None):
            raise ValueError(
                f"layer {self.layer!r}: concentration compares a whole amount with daily volume; "
                "it does not go with by_time or below_confidence, use a charge of its own"
            )
        return self

    @model_validator(mode="after")
    def _ordered(self) -> "ChargeSpec":
        if self.maintenance > self.initial:
            raise ValueError(
                f"layer {self.layer!r}: maintenance {self.maintenance:g} is above initial "
                f"{self.initial:g}; what is asked to hold is never above what is asked to open"
            )
        return self


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge on the instruments of one run.

    ``amount`` is ``(instrument,)``, signed reporting currency (or contracts) per contract, zero
    where the charge does not apply. ``volume`` is ``(instrument,)``, daily volume in the same
    unit, one where size does not matter.
    """

    spec: ChargeSpec
    amount: Floats
    volume: Floats


def charges_on(
    specs: Sequence[ChargeSpec],
    instruments: Instruments,
    market: MarketState,
    underlyings: Sequence[str],
    confidence: Floats | None = None,
) -> tuple[Charge, ...]:
    """Return the charges of a methodology on the instruments of a run.

    ``confidence`` ``(instrument,)`` is that of the oracle, one when left out. Notional is at index
    prices; delta is reporting currency per unit relative move of the underlying.

    Raises:
        ValueError: a concentration lacks the daily volume of an underlying that it charges.
    """
    return tuple(_charge_on(spec, instruments, market, underlyings, confidence) for spec in specs)


def _charge_on(
    spec: ChargeSpec,
    instruments: Instruments,
    market: MarketState,
    underlyings: Sequence[str],
    confidence: Floats | None,
) -> Charge:
    applies = np.isin(instruments.kind, [Kind[kind.upper()] for kind in spec.kinds])
    names = np.array([*underlyings, ""], dtype=object)[instruments.underlying]
    if spec.underlyings:
        if not set(spec.underlyings) & set(underlyings):
            raise ValueError(
                f"layer {spec.layer!r} charges {list(spec.underlyings)}, none of which the market "
                f"has; it has {list(underlyings)}"
            )
        applies &= np.isin(names, spec.underlyings)
    applies &= market.priced
    each = _amount(spec.amount, instruments, market)
    if spec.by_time is not None:
        grown = spec.by_time.per_year * instruments.time_to_expiry
        each = each * np.maximum(grown, spec.by_time.least)
    if spec.below_confidence is not None:
        sure = np.ones(len(instruments)) if confidence is None else confidence
        each = each * np.where(sure < spec.below_confidence, 1.0 - sure, 0.0)
    volume = np.ones(len(instruments))
    if spec.concentration is not None:
        known = spec.concentration.daily_volume
        missing = sorted(set(names[applies]) - set(known))
        if missing:
            raise ValueError(
                f"layer {spec.layer!r}: no daily_volume for {missing}; give one, in the unit of "
                f"the {spec.amount}, for each underlying that is charged"
            )
        volume = np.array([known.get(name, 1.0) for name in names])
    return Charge(spec, np.where(applies, each, 0.0), volume)


def _amount(of: str, instruments: Instruments, market: MarketState) -> Floats:
    if of == "contracts":
        return np.ones(len(instruments))
    return (
        cash_delta(instruments, market)
        if of == "delta"
        else unit_notional(instruments, market.index)
    )


def needs_nesting(specs: Sequence[ChargeSpec]) -> bool:
    """Return whether a charge sums positions before its side is taken."""
    return any(spec.group != "position" or spec.side == "matched" for spec in specs)


def charge_groups(
    charge: Charge,
    account: NDArray[np.int64],
    instrument: NDArray[np.int32],
    quantity: Floats,
    nested: Nested | None,
) -> tuple[Floats, NDArray[np.int64]]:
    """Return what each group is charged at a rate of one, and the account of each group.

    ``account``, ``instrument`` and ``quantity`` ``(position,)`` are in the order of ``nested``,
    which may be left out where positions are charged one by one.
    """
    spec = charge.spec
    rows = np.flatnonzero(charge.amount[instrument] != 0.0)
    amount = quantity[rows] * charge.amount[instrument[rows]]
    volume = charge.volume[instrument[rows]]
    account = account[rows]
    if spec.group != "position" and nested is not None:
        first, number = _runs(nested.labels(spec.group)[rows])
        amount = sum_by_group(amount, number, len(first))
        rows, volume, account = rows[first], volume[first], account[first]
    if spec.side == "matched" and nested is not None:
        first, number = _runs(nested.labels("unit")[rows])
        sides = [
            sum_by_group(np.maximum(sign * amount, 0.0), number, len(first)) for sign in (1.0, -1.0)
        ]
        taken, volume, account = np.minimum(*sides), volume[first], account[first]
    else:
        taken = {
            "gross": np.abs(amount),
            "short": np.maximum(-amount, 0.0),
            "long": np.maximum(amount, 0.0),
        }[spec.side]
    if spec.concentration is not None:
        taken = taken * (taken / volume) ** spec.concentration.exponent
    return taken, account


def _runs(label: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each run of equal labels begins, and the number of the run of each entry."""
    changed = np.diff(label, prepend=-1) != 0
    return np.flatnonzero(changed), np.cumsum(changed) - 1


def charge_accounts(
    charge: Charge,
    account: NDArray[np.int64],
    instrument: NDArray[np.int32],
    quantity: Floats,
    accounts: int,
    nested: Nested | None,
) -> Floats:
    """Return what each account is charged at a rate of one, ``(account,)``, non-negative.

    Raises:
        ValueError: positions are not nested and the charge needs them to be.
    """
    if nested is None and needs_nesting([charge.spec]):
        raise ValueError(f"layer {charge.spec.layer!r} sums groups of positions; nest them first")
    taken, owner = charge_groups(charge, account, instrument, quantity, nested)
    return sum_by_group(taken, owner, accounts)
