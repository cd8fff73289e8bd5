"""What the assets of a book count for, at the prices of a run and by its rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from risk.collateral import CollateralRule, collateral_weights
from risk.weights import Weights
from workers.terms import CASH

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CountedAssets:
    """Assets of a book, ``(asset,)``: USD that a unit adds to equity, and whether that is known.

    That is the price less the haircut of the book, or the whole price where the methodology has
    rules for collateral; ``weights`` are then what of it counts, and ``haircut`` is zero.
    """

    value: Floats
    price: Floats
    haircut: Floats
    priced: NDArray[np.bool_]
    underlying: tuple[str, ...]
    weights: Weights | None

    @property
    def credit(self) -> Floats:
        """USD that a unit counts for, its weight of the rules applied, ``(asset,)``."""
        return self.value if self.weights is None else self.value * self.weights.held_initial

    def coins(self, underlyings: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of the coin that each asset is priced as, ``(asset,)``, -1 for cash."""
        row = {name: at for at, name in enumerate(underlyings)}
        return np.array([row.get(name, -1) for name in self.underlying], dtype=np.int64)


def counted_assets(
    assets: pa.Table, index: Mapping[str, float], rules: Sequence[CollateralRule]
) -> CountedAssets:
    """Return what a unit of each asset counts for; ``index`` is the price of each coin, USD.

    ``rules`` are those of the methodology, none where it takes the haircuts of the book.
    """
    known = {**index, CASH: 1.0}
    underlying = tuple(assets["underlying"].to_pylist())
    priced = np.array([name in known for name in underlying], dtype=np.bool_)
    price = np.array([known.get(name, 0.0) for name in underlying], dtype=np.float64)
    haircut = np.array(assets["haircut"].to_numpy(), dtype=np.float64)
    weights = None
    if rules:
        haircut = np.zeros_like(haircut)
        weights = collateral_weights(
            rules, assets["asset"].to_pylist(), assets["chain"].to_pylist(), price
        )
    return CountedAssets(price * (1.0 - haircut), price, haircut, priced, underlying, weights)
