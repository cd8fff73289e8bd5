"""Model risk, charges and buffers stacked on base risk, layer by layer."""

import numpy as np
from numpy.typing import NDArray

from risk.charges import charge_accounts
from risk.margin.inputs import Portfolio, Revaluation
from risk.margin.results import BaseMargin
from risk.methodology import Methodology
from risk.model_risk import spread_of_models
from risk.nesting import Nested


def stack_charges(
    portfolio: Portfolio,
    nested: Nested | None,
    revaluation: Revaluation,
    methodology: Methodology,
    base: BaseMargin,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return base layers with those stacked on them, and maintenance."""
    order = slice(None) if nested is None else nested.order
    instrument, quantity = portfolio.instrument[order], portfolio.quantity[order]
    account = np.repeat(np.arange(len(portfolio)), np.diff(portfolio.offsets))
    initial, maintenance = base.layers.sum(axis=1), base.maintenance
    layers = [base.layers]
    if methodology.model_risk is not None:
        spec = methodology.model_risk
        columns = [methodology.measured.index(name) for name in spec.models]
        spread = spread_of_models(base.measured[:, columns], spec)
        initial = initial + spec.initial * spread
        maintenance = maintenance + spec.maintenance * spread
        layers.append((spec.initial * spread)[:, np.newaxis])
    for layer in methodology.charge_layers:
        asked, kept = np.zeros(len(portfolio)), np.zeros(len(portfolio))
        charges = [charge for charge in revaluation.charges if charge.spec.layer == layer]
        for charge in charges:
            amount = charge_accounts(charge, account, instrument, quantity, len(portfolio), nested)
            asked += charge.spec.initial * amount
            kept += charge.spec.maintenance * amount
        if charges[0].spec.role == "floor":
            asked = np.maximum(asked - initial, 0.0)
            kept = np.maximum(kept - maintenance, 0.0)
        initial, maintenance = initial + asked, maintenance + kept
        layers.append(asked[:, np.newaxis])
    for buffer in methodology.buffers:
        held = buffer.initial * initial
        initial = initial + held
        maintenance = maintenance * (1.0 + buffer.maintenance)
        layers.append(held[:, np.newaxis])
    return np.concatenate(layers, axis=1), maintenance
