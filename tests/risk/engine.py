"""Margin of small books under any methodology, from terms and prices to numbers, in one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from risk.charges import charges_on
from risk.instruments import Instruments, MarketState
from risk.margin import AccountMargin, Holdings, Revaluation, margin_accounts, measures_of
from risk.measures import Measure
from risk.methodology import Methodology
from risk.nesting import risk_order
from risk.revaluation import contract_value, revalue
from risk.scan.prepared import prepare_scan
from risk.scan.scenarios import revalue_scan, scan_axis, scan_scenarios
from risk.scenarios.events import event_scenarios
from risk.scenarios.grid import grid_scenarios
from risk.scenarios.shocks import scenario_dataset, shocks_of
from risk.sensitivities.greeks import unit_sensitivities
from risk.sensitivities.specification import risk_factors
from risk.standard.terms import standard_terms
from tests.risk.books import COINS

DOCUMENT = {
    "name": "rules",
    "version": "1",
    "effective": "2026-01-01",
    "title": "Rules of a test",
    "sources": ["made up for tests"],
    "netting": {},
    "volatility_tenor": {
        "reference_days": 30.0,
        "short_power": 0.3,
        "long_power": 0.13,
        "floor_days": 1.0,
        "minimum_volatility": 0.0,
    },
}


def rules_of(**tables: Any) -> Methodology:
    return Methodology.model_validate(DOCUMENT | tables)


@dataclass(frozen=True)
class Engine:
    """Rules on the instruments of a market."""

    rules: Methodology
    revaluation: Revaluation
    measures: tuple[Measure, ...]
    scenarios: xr.Dataset

    def margin(self, holdings: Holdings, **options: Any) -> AccountMargin:
        return margin_accounts(holdings, self.revaluation, self.rules, self.measures, **options)


def engine_of(
    rules: Methodology,
    instruments: Instruments,
    currency: Sequence[int] | np.ndarray,
    market: MarketState,
    *,
    history: int = 40,
    confidence: np.ndarray | None = None,
) -> Engine:
    """Price instruments under the scenarios of a methodology; its history is made up."""
    parts = []
    if rules.historical is not None:
        rng = np.random.default_rng(11)
        moves = {"price": 0.06, "volatility": 0.3, "perpetual_basis": 0.002, "forward_basis": 0.01}
        shocks = {name: rng.normal(0.0, size, (history, 2)) for name, size in moves.items()}
        names = [f"window {number}" for number in range(history)]
        parts.append(
            scenario_dataset(
                scenario=names,
                label=names,
                origin="historical",
                underlying=list(COINS),
                shocks=shocks,
            )
        )
    if rules.grid is not None:
        parts.append(grid_scenarios(COINS, rules.grid))
    if rules.scan is not None:
        parts += scan_scenarios(COINS, rules.scan)
    parts.append(event_scenarios(COINS, rules.events))
    scenarios = xr.concat(parts, dim="scenario", join="exact", combine_attrs="drop")
    shocks_, weight = shocks_of(scenarios), scenarios["weight"].values
    origin, names = (scenarios[name].values.tolist() for name in ("origin", "scenario"))
    tenor = rules.volatility_tenor.tenor()
    value = contract_value(instruments, market)
    more: dict[str, Any] = {}
    if rules.scan is None:
        cube = revalue(instruments, market, shocks_, tenor)
    else:
        axis = scan_axis(rules.scan, COINS, origin, names)
        cube = revalue_scan(instruments, market, shocks_, tenor, axis)
        more["scan"] = prepare_scan(axis, instruments, market, value, weight, shocks_)
    if rules.standard is not None:
        spec = rules.standard
        more["standard"] = standard_terms(instruments, market, value, spec, underlyings=COINS)
    if rules.sensitivities is not None:
        more["factors"] = risk_factors(rules.sensitivities, COINS)
        more["sensitivities"] = unit_sensitivities(instruments, market, more["factors"])
    settlement = np.asarray(currency, dtype=np.int32)
    revaluation = Revaluation(
        cube=cube,
        weight=weight,
        value=value,
        settlement=settlement,
        priced=market.priced,
        order=risk_order(instruments, settlement),
        charges=charges_on(rules.charges, instruments, market, COINS, confidence),
        **more,
    )
    return Engine(rules, revaluation, measures_of(rules, origin), scenarios)
