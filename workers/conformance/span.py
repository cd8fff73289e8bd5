"""SPAN's scan risk: published risk arrays through the kernel that scans books."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from risk.kernels import Positions, account_pnl, worst_loss

Numbers = Mapping[str, Any]


def scan_risk(inputs: Numbers, _: Numbers) -> dict[str, Any]:
    """Return the array of a portfolio, its worst loss and the scenario of it, from 1.

    Without ``positions`` one contract is held of every array that is given.
    """
    listed = [name for name, array in inputs.items() if isinstance(array, list)]
    held = inputs.get("positions", dict.fromkeys(listed, 1))
    arrays = np.array([inputs[name] for name in held], dtype=np.float64)
    number = len(held)
    positions = Positions(
        account_sets=np.array([0, 1]),
        set_offsets=np.array([0, number]),
        instrument=np.arange(number, dtype=np.int32),
        quantity=np.array(list(held.values()), dtype=np.float64),
    )
    loss, scenario = worst_loss(positions, arrays)
    return {
        "portfolio_array": account_pnl(positions, arrays)[0].tolist(),
        "scan_risk": max(float(loss[0]), 0.0),
        "active_scenario": int(scenario[0]) + 1,
    }


METHODS = {"span_scan": scan_risk}
