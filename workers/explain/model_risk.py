"""What models say of an account, and what their spread asks."""

from typing import Any

import numpy as np

from risk.margin import AccountMargin
from risk.methodology import Methodology
from risk.model_risk import spread_of_models


def model_risk_of(methodology: Methodology, margin: AccountMargin) -> dict[str, Any]:
    """Return what each model says of the account, and what their spread asks; empty without."""
    spec = methodology.model_risk
    if spec is None:
        return {}
    measured = dict(zip(methodology.measured, margin.risk_measure[0].tolist(), strict=True))
    estimates = {name: measured[name] for name in spec.models}
    spread = float(spread_of_models(np.array([[*estimates.values()]]), spec)[0])
    return {
        "layer": spec.layer,
        "estimates": estimates,
        "of": spec.spread,
        "spread": spread,
        "initial_share": spec.initial,
        "maintenance_share": spec.maintenance,
        "initial": spec.initial * spread,
        "maintenance": spec.maintenance * spread,
    }
