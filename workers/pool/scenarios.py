"""The scenarios of a pool: some of the margin run's, then those that befall the pool itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.rules import PoolRules
from risk.claims.scenarios import scenario_prices
from risk.instruments import Instruments, MarketState
from risk.methodology import Methodology
from risk.revaluation import revalue
from risk.scenarios.shocks import Shocks
from storage.runs import Run

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PoolScenarios:
    """What accounts of a pool are margined under, ``(scenario,)``.

    ``name``, ``title``, ``origin`` and ``weight``, the part of a loss that is answered for; the
    last ``named`` are the pool's own. ``cube`` ``(instrument, scenario)`` is the P&L of one
    contract. ``price`` are the relative moves of ``coins`` in the scenarios of the market.
    """

    name: tuple[str, ...]
    title: tuple[str, ...]
    origin: tuple[str, ...]
    weight: Floats
    cube: Floats
    named: int
    coins: tuple[str, ...]
    price: Floats

    def __len__(self) -> int:
        return len(self.name)

    @property
    def reported(self) -> NDArray[np.int64]:
        """The states of which sums are kept by token: now, and the pool's own scenarios."""
        first = len(self) - self.named
        return np.concatenate([[0], np.arange(first, len(self)) + 1]).astype(np.int64)


def pool_scenarios(
    run: Run,
    rules: PoolRules,
    methodology: Methodology,
    instruments: Instruments,
    market: MarketState,
) -> PoolScenarios:
    """Return the scenarios of a pool on the instruments of a published margin run.

    Raises:
        ValueError: the run has no scenario of an origin that the rules ask for.
    """
    scenarios = run.scenarios.load()
    origin = np.array(scenarios["origin"].values.tolist(), dtype=object)
    chosen = np.flatnonzero(np.isin(origin, np.array(rules.policy.origins, dtype=object)))
    missing = sorted(set(rules.policy.origins) - set(origin.tolist()))
    if missing:
        raise ValueError(
            f"rules {rules.name} take scenarios of origin {missing}, run {run.run_id} has "
            f"{sorted(set(origin.tolist()))}; margin the book by a methodology that has them"
        )
    underlyings = scenarios["underlying"].values.tolist()
    price = scenario_prices(rules.scenarios, underlyings)
    none = np.zeros_like(price)
    tenor = methodology.volatility_tenor.tenor()
    own = revalue(instruments, market, Shocks(price, none, none, none), tenor)
    return PoolScenarios(
        name=(
            *scenarios["scenario"].values[chosen].tolist(),
            *(one.name for one in rules.scenarios),
        ),
        title=(
            *scenarios["label"].values[chosen].tolist(),
            *(one.title for one in rules.scenarios),
        ),
        origin=(*origin[chosen].tolist(), *("pool" for _ in rules.scenarios)),
        weight=np.concatenate(
            [scenarios["weight"].values[chosen], [one.weight for one in rules.scenarios]]
        ),
        cube=np.ascontiguousarray(np.concatenate([run.cube["pnl"].values[:, chosen], own], axis=1)),
        named=len(rules.scenarios),
        coins=tuple(underlyings),
        price=scenarios["price"].values[chosen],
    )
