"""Weights: what is held counts for less than its value, and what is owed for more.

One table serves coins held and owed, perpetual positions, and the assets of the collateral.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from risk.protocols.drift import size_asset_weight, size_liability_weight
from risk.protocols.mango import scaled_asset_weight, scaled_liability_weight
from risk.specification import NonNegative, Positive, Specification

Floats = NDArray[np.float64]


class TotalValue(Specification):
    """Worth of all deposits, or of all borrows, of an asset, and the worth that scaling starts at.

    Reporting currency. Beyond the start initial weights are scaled: the weight of what is held by
    start / value, the weight of what is owed by value / start.
    """

    value: NonNegative
    start: Positive


class WeightPair(Specification):
    """Weights of what is held, to open and to keep."""

    initial: NonNegative
    maintenance: NonNegative

    @model_validator(mode="after")
    def _held(self) -> "WeightPair":
        if not self.initial <= self.maintenance <= 1.0:
            raise ValueError(
                f"weights of what is held are initial {self.initial:g} and maintenance "
                f"{self.maintenance:g}; initial <= maintenance <= 1 must hold"
            )
        return self


class LiabilityPair(Specification):
    """Weights of what is owed, to open and to keep."""

    initial: NonNegative
    maintenance: NonNegative

    @model_validator(mode="after")
    def _owed(self) -> "LiabilityPair":
        if not self.initial >= self.maintenance >= 1.0:
            raise ValueError(
                f"weights of what is owed are initial {self.initial:g} and maintenance "
                f"{self.maintenance:g}; initial >= maintenance >= 1 must hold"
            )
        return self


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the rows of a table, instruments or assets; every array is ``(row,)``.

    ``value`` is reporting currency per unit and ``coins`` units of the coin per unit. ``held_``
    and ``owed_`` are the weights of either side. Where ``margined`` is true a row is a contract of
    which nothing but the requirement counts, and its size premium is on its share, one less than
    the weight, and not on the weight.
    """

    value: Floats
    coins: Floats
    held_initial: Floats
    held_maintenance: Floats
    owed_initial: Floats
    owed_maintenance: Floats
    size_factor: Floats
    margined: NDArray[np.bool_]


def no_weights(rows: int) -> Weights:
    """Return weights under which nothing that is held counts, for ``rows`` rows without a value."""
    zero, one = np.zeros(rows), np.ones(rows)
    return Weights(
        value=zero,
        coins=zero.copy(),
        held_initial=zero.copy(),
        held_maintenance=zero.copy(),
        owed_initial=one,
        owed_maintenance=one.copy(),
        size_factor=zero.copy(),
        margined=np.zeros(rows, dtype=np.bool_),
    )


def scaled_pair(pair: WeightPair | LiabilityPair, total: TotalValue | None) -> tuple[float, float]:
    """Return initial and maintenance weight after all deposits, or all borrows, scaled the first.

    >>> scaled_pair(WeightPair(initial=0.5, maintenance=0.8), TotalValue(value=10.0, start=5.0))
    (0.25, 0.8)
    """
    if total is None:
        return pair.initial, pair.maintenance
    scaled = scaled_asset_weight if isinstance(pair, WeightPair) else scaled_liability_weight
    return float(scaled(pair.initial, total.value, total.start)), pair.maintenance


def weighted_requirement(
    row: NDArray[np.int64] | NDArray[np.int32], quantity: Floats, weights: Weights
) -> tuple[Floats, Floats]:
    """Return what each balance asks, initial and maintenance: ``(balance,) -> (balance,)`` twice.

    value (1 - weight) of what is held, value (weight - 1) of what is owed; never negative. The
    weights depend on the size of the balance by ``size_factor``: see ``risk.protocols.drift``.

    >>> weights = no_weights(1)
    >>> weights.value[:], weights.held_initial[:], weights.owed_initial[:] = 100.0, 0.75, 1.5
    >>> weighted_requirement(np.zeros(2, np.int64), np.array([2.0, -2.0]), weights)[0].tolist()
    [50.0, 100.0]
    """
    value = np.abs(quantity) * weights.value[row]
    coins = np.abs(quantity) * weights.coins[row]
    factor, owes, margined = weights.size_factor[row], quantity < 0.0, weights.margined[row]
    asked = []
    for held_weight, owed_weight in (
        (weights.held_initial[row], weights.owed_initial[row]),
        (weights.held_maintenance[row], weights.owed_maintenance[row]),
    ):
        balance = np.where(
            owes,
            size_liability_weight(owed_weight, coins, factor) - 1.0,
            1.0 - size_asset_weight(held_weight, coins, factor),
        )
        share = np.where(owes, owed_weight - 1.0, 1.0 - held_weight)
        premium = size_liability_weight(share, coins, factor)
        asked.append(value * np.where(margined, premium, balance))
    return asked[0], asked[1]
