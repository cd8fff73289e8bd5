"""What the assets of the collateral do not count for, by the rules of the methodology."""

from dataclasses import replace

import numpy as np

from risk.collateral import HAIRCUT_LAYER, haircuts_of_accounts
from risk.margin.inputs import Holdings, Revaluation
from risk.margin.results import BaseMargin
from risk.methodology import Methodology


def with_haircuts(
    base: BaseMargin, holdings: Holdings, revaluation: Revaluation, methodology: Methodology
) -> BaseMargin:
    """Return base margin with the haircuts of the collateral; as it is where no rule names any.

    Equity counts each asset at its whole value: value x (1 - initial weight) is added to the layer
    of haircuts, value x (1 - maintenance weight) to maintenance. What is held back asks nothing.

    Raises:
        ValueError: the methodology has rules for collateral, the revaluation was made without.
    """
    if not methodology.collateral:
        return base
    if revaluation.collateral is None:
        raise ValueError("the methodology has rules for collateral, the revaluation has none")
    layers = base.layers
    if methodology.standard is None:
        layers = np.concatenate([layers, np.zeros((len(holdings), 1))], axis=1)
    if holdings.assets is None:
        return replace(base, layers=layers)
    initial, maintenance = haircuts_of_accounts(holdings.assets, revaluation.collateral)
    column = methodology.base_layers.index(HAIRCUT_LAYER)
    layers = layers.copy()
    layers[:, column] += np.where(holdings.held, 0.0, initial)
    kept = np.where(holdings.held, 0.0, maintenance)
    return replace(base, layers=layers, maintenance=base.maintenance + kept)
