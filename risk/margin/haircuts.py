"""What the assets of the collateral do not count for, by the rules of the methodology."""

import numpy as np
from numpy.typing import NDArray

from risk.collateral import HAIRCUT_LAYER, haircuts_of_accounts
from risk.margin.inputs import Holdings, Revaluation
from risk.methodology import Methodology

Floats = NDArray[np.float64]


def with_haircuts(
    margin: Floats,
    maintenance: Floats,
    holdings: Holdings,
    revaluation: Revaluation,
    methodology: Methodology,
) -> tuple[Floats, Floats]:
    """Return layers and maintenance with the haircuts of the collateral, as they are without rules.

    Equity counts each asset at its whole value: value x (1 - initial weight) is added to the layer
    of haircuts, value x (1 - maintenance weight) to maintenance. No floor and no buffer sees it:
    the same weights as haircuts of the book leave the same excess. What is held back asks nothing.

    Raises:
        ValueError: the methodology has rules for collateral, the revaluation was made without.
    """
    if not methodology.collateral:
        return margin, maintenance
    if revaluation.collateral is None:
        raise ValueError("the methodology has rules for collateral, the revaluation has none")
    asked, kept = np.zeros(len(margin)), np.zeros(len(margin))
    if holdings.assets is not None:
        asked, kept = haircuts_of_accounts(holdings.assets, revaluation.collateral)
    margin = np.concatenate(
        [margin, np.zeros((len(margin), len(methodology.layers) - margin.shape[1]))], axis=1
    )
    margin[:, methodology.layers.index(HAIRCUT_LAYER)] += np.where(holdings.held, 0.0, asked)
    return margin, maintenance + np.where(holdings.held, 0.0, kept)
