"""How called accounts get back to health, with names and amounts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from risk.health import HealthSpec
from risk.reduction import Portfolio, Trade, way_back
from storage.runs import Run
from workers.account_case import AccountCase, account_case, rules_of


def ways_back(run: Run, accounts: Sequence[str], spec: HealthSpec) -> list[dict[str, Any]]:
    """Return for each account what a deposit, one reduction or several would take.

    The aim is that of a call: equity of ``target_ratio`` x the initial requirement.

    Raises:
        AccountHeld, AccountUnknown, BookChanged, MarginDiffers: as ``account_case``.
    """
    rules = rules_of(run) if accounts else None
    return [
        _way_back(account_case(rules, account), spec.target_ratio)
        for account in accounts
        if rules is not None
    ]


def _way_back(case: AccountCase, target_ratio: float) -> dict[str, Any]:
    if case.rules.methodology.collateral and case.revaluation.value.any():
        return _deposit_alone(case, target_ratio)
    found = way_back(
        lambda quantity: target_ratio * case.requirement(quantity),
        Portfolio(
            lots=case.lots,
            lot_size=case.lot_size,
            lot_notional=case.lot_size * case.notional,
            equity=case.equity,
        ),
    )
    names = case.names
    return {
        "account": case.account,
        "searched": True,
        "deposit": found.deposit,
        "single": None if found.single is None else _trade(found.single, names),
        "sequence": [_trade(trade, names) for trade in found.sequence],
        "proportional": found.proportional,
    }


def _deposit_alone(case: AccountCase, target_ratio: float) -> dict[str, Any]:
    """Return the deposit alone, in what counts in full.

    What a reduction brings depends on the asset that it is paid with, where the rule book weighs
    assets and some position is paid for.
    """
    wanted = target_ratio * float(case.requirement(case.quantity[np.newaxis])[0])
    return {
        "account": case.account,
        "searched": False,
        "deposit": max(0.0, wanted - case.equity),
        "single": None,
        "sequence": [],
        "proportional": None,
    }


def _trade(trade: Trade, names: Sequence[str]) -> dict[str, Any]:
    return {
        "instrument": names[trade.leg],
        "contracts": trade.contracts,
        "fraction": trade.fraction,
        "notional": trade.notional,
        "released": trade.released,
    }
