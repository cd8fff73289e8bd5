"""Base risk without scenarios: by rule, leg by leg, and from sensitivities."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from risk.margin.inputs import Portfolio, Revaluation
from risk.margin.results import BaseMargin
from risk.netting import netting_sets
from risk.sensitivities.margin import greeks_margin
from risk.standard.margin import margin_positions
from risk.summation import BlockMap, sum_by_group

OPTIONS = 0
"""The layer of a standard margin that the marks of options are in."""


def standard_base(
    reported: BaseMargin, portfolio: Portfolio, revaluation: Revaluation, map_blocks: BlockMap
) -> BaseMargin:
    """Return the layers that rules by leg set; scenarios are only reported.

    The rules stand against a balance without the value of options. Here equity has it, so it is
    added to the layer of options: what a short's mark adds there cancels, and a long option asks
    for its own value, which gives no credit.
    """
    if revaluation.standard is None:
        raise ValueError("the methodology has rules by leg, the revaluation was made without")
    sets, account = _sets(portfolio, revaluation)
    size = len(portfolio)
    found = margin_positions(
        sets, portfolio.instrument, portfolio.quantity, revaluation.standard, map_blocks=map_blocks
    )
    layers = found.layers.copy()
    layers[:, OPTIONS] = np.maximum(layers[:, OPTIONS] + found.option_value, 0.0)
    kept = np.maximum(found.maintenance + found.option_value, 0.0)
    return replace(
        reported,
        layers=sum_by_group(layers, account, size),
        maintenance=sum_by_group(kept, account, size),
    )


def greeks_base(
    reported: BaseMargin, portfolio: Portfolio, revaluation: Revaluation, maintenance_factor: float
) -> BaseMargin:
    """Return the layers that sensitivities set; scenarios are only reported."""
    if revaluation.sensitivities is None or revaluation.factors is None:
        raise ValueError("the methodology reads Greeks, the revaluation was made without")
    sets, account = _sets(portfolio, revaluation)
    of_sets = greeks_margin(
        sets,
        portfolio.instrument,
        portfolio.quantity,
        revaluation.sensitivities,
        revaluation.factors,
    )
    layers = sum_by_group(of_sets, account, len(portfolio))
    return replace(reported, layers=layers, maintenance=maintenance_factor * layers.sum(axis=1))


def _sets(
    portfolio: Portfolio, revaluation: Revaluation
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the offsets of netting sets into positions, and the account of each set."""
    account_sets, set_offsets = netting_sets(
        portfolio.offsets, portfolio.instrument, portfolio.key, revaluation.settlement
    )
    return set_offsets, np.repeat(np.arange(len(portfolio)), np.diff(account_sets))
