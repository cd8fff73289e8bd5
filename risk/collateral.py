"""Collateral under a rule book of its own: which assets count, and at which weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.offsets import chosen_rows
from risk.specification import Fraction, NonNegative, Specification
from risk.summation import sum_by_group
from risk.weights import (
    TotalValue,
    WeightPair,
    Weights,
    no_weights,
    scaled_pair,
    weighted_requirement,
)

Floats = NDArray[np.float64]

HAIRCUT_LAYER = "collateral_haircut"
"""The layer of what collateral does not count for."""

NO_RULE = -1


class CollateralRule(Specification):
    """What assets of some names count for: a part of their value, to open and to keep.

    Without ``chains`` the rule is for the assets wherever they lie. ``deposits`` scale the initial
    weight, ``size_factor`` lowers both weights with the amount that an account holds.
    """

    assets: Annotated[tuple[str, ...], Field(min_length=1)]
    chains: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    initial: Fraction
    maintenance: Fraction
    size_factor: NonNegative = 0.0
    deposits: TotalValue | None = None
    source: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _ordered(self) -> "CollateralRule":
        for names in (self.assets, self.chains or ()):
            if len(set(names)) < len(names):
                raise ValueError(f"collateral {list(names)}: a name stands there twice")
        if self.initial > self.maintenance:
            raise ValueError(
                f"collateral {list(self.assets)}: initial weight {self.initial:g} is above "
                f"maintenance weight {self.maintenance:g}; what may be borrowed against is never "
                "more than what must stay covered"
            )
        return self


@dataclass(frozen=True, slots=True)
class AssetHoldings:
    """Assets of a run of accounts: ``offsets`` ``(account+1,)``, the rest ``(holding,)``.

    ``asset`` is the row of the asset, ``quantity`` units of it, never negative.
    """

    offsets: NDArray[np.int64]
    asset: NDArray[np.int32]
    quantity: Floats

    def take(self, chosen: NDArray[np.int64]) -> "AssetHoldings":
        """Return what some of the accounts hold."""
        offsets, rows = chosen_rows(self.offsets, chosen)
        return AssetHoldings(offsets, self.asset[rows], self.quantity[rows])


def match_collateral(
    rules: Sequence[CollateralRule], assets: Sequence[str], chains: Sequence[str]
) -> NDArray[np.int64]:
    """Return the first rule that names each asset, ``(asset,)``, -1 where none does.

    Chains are matched whatever the case of their letters, assets by it: ``mSOL`` is no ``MSOL``.

    >>> rule = CollateralRule(assets=("WETH",), chains=("A",), initial=0, maintenance=0, source="s")
    >>> match_collateral([rule], ["WETH", "WETH", "DAI"], ["A", "B", "A"]).tolist()
    [0, -1, -1]
    """
    found = np.full(len(assets), NO_RULE, dtype=np.int64)
    for row, (asset, chain) in enumerate(zip(assets, chains, strict=True)):
        for number, rule in enumerate(rules):
            known = None if rule.chains is None else {name.casefold() for name in rule.chains}
            if asset in rule.assets and (known is None or chain.casefold() in known):
                found[row] = number
                break
    return found


def collateral_weights(
    rules: Sequence[CollateralRule], assets: Sequence[str], chains: Sequence[str], price: Floats
) -> Weights:
    """Return the weights of assets at prices in the reporting currency, ``(asset,)``.

    An asset that no rule names counts for nothing.
    """
    weights = no_weights(len(assets))
    weights.value[:] = price
    weights.coins[:] = 1.0
    matched = match_collateral(rules, assets, chains)
    for number, rule in enumerate(rules):
        rows = matched == number
        pair = WeightPair(initial=rule.initial, maintenance=rule.maintenance)
        weights.held_initial[rows], weights.held_maintenance[rows] = scaled_pair(
            pair, rule.deposits
        )
        weights.size_factor[rows] = rule.size_factor
    return weights


def haircuts_of_accounts(held: AssetHoldings, weights: Weights) -> tuple[Floats, Floats]:
    """Return what assets do not count for, initial and maintenance, ``(account,)`` each.

    >>> weights = no_weights(1)
    >>> weights.value[:], weights.held_initial[:], weights.held_maintenance[:] = 10.0, 0.5, 0.75
    >>> one = AssetHoldings(np.array([0, 1, 1]), np.array([0], np.int32), np.array([4.0]))
    >>> [amount.tolist() for amount in haircuts_of_accounts(one, weights)]
    [[20.0, 0.0], [10.0, 0.0]]
    """
    accounts = len(held.offsets) - 1
    owner = np.repeat(np.arange(accounts), np.diff(held.offsets))
    initial, maintenance = weighted_requirement(held.asset, held.quantity, weights)
    return sum_by_group(initial, owner, accounts), sum_by_group(maintenance, owner, accounts)
