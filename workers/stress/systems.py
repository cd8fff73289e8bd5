"""Margin systems and walls under the scenarios of a stress run, with nobody closed.

A pass of its own over the accounts: what each system requires is put in the place of what accounts
have, and all scenarios meet all systems at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.margin import measures_of
from risk.revaluation import revalue
from risk.systemic.bearing import bear_losses
from risk.systemic.insulation import (
    Insulated,
    InsulationSpec,
    lose_over_capital,
    prefunded,
    side_by_side,
)
from risk.systemic.plan import StressPlan
from risk.systemic.systems import (
    Arrangement,
    MarginRules,
    arrange,
    arrangements,
    bare_rules,
    margin_rules,
)
from workers.engine import Engine
from workers.memory import process_peak_bytes
from workers.methodologies import methodology_of
from workers.revaluation import revaluation_of_run
from workers.shards import Shard
from workers.stress.tasks import StressInputs, accounts_of
from workers.stress.work import StressWork


@dataclass(frozen=True, slots=True)
class SystemInputs:
    """What every task shares; ``walls`` has a code of each instrument, by the kind of wall."""

    stress: StressInputs
    rules: MarginRules
    walls: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class SystemResult:
    """What the arrangements come to in a shard; nothing where no account of it has a position."""

    accounts: int
    insulated: Insulated
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Compared:
    """The arrangements that were compared, and what they come to over all accounts."""

    arrangements: tuple[Arrangement, ...]
    insulated: Insulated


def insulate_shard(inputs: SystemInputs, shard: Shard) -> SystemResult:
    """Return what the accounts of a shard lose over what each arrangement requires of them."""
    accounts = accounts_of(inputs.stress, shard)
    cuts = arrange(accounts, inputs.rules, inputs.walls)
    found = [lose_over_capital(sets, inputs.stress.cube, inputs.stress.groups) for sets in cuts]
    return SystemResult(shard.stop - shard.start, side_by_side(found), process_peak_bytes())


def compare_systems(
    engine: Engine,
    inputs: StressInputs,
    work: StressWork,
    spec: InsulationSpec,
    told: Callable[[int], None] = lambda accounts: None,
) -> Compared:
    """Compare margin systems, layers and walls at the scenarios' own prices.

    Scenarios that break something beside prices are left out: a margin system meets prices alone.
    ``told`` is called with the accounts that are done. Sums are exact, so shards may come in any
    order.

    Raises:
        ValueError: SUM_TOO_LARGE, as ``risk.kernels.sums.require_exact``.
    """
    rules, ground = rules_of_run(work), work.ground
    shocks = work.scenarios.take(compared_scenarios(work)).shocks
    cube = revalue(ground.instruments, ground.market, shocks, ground.tenor)
    walls: dict[str, NDArray[np.int64]] = {name: _codes(work, name) for name in spec.walls}
    shared = SystemInputs(replace(inputs, cube=cube), rules, walls)
    total: Insulated | None = None
    for result in engine.map(insulate_shard, shared, work.shards):
        total = result.insulated if total is None else total + result.insulated
        told(result.accounts)
    if total is None:
        raise ValueError("a book without accounts cannot be stressed")
    return Compared(tuple(arrangements(rules.methodology.layers, rules.base, spec.walls)), total)


def compared_scenarios(work: StressWork) -> NDArray[np.int64]:
    """Return the rows of the scenarios that margin systems are compared under."""
    return np.flatnonzero([name not in work.disruptions for name in work.scenarios.name])


def rules_of_run(work: StressWork) -> MarginRules:
    """Return by what the netting sets of the margin run's accounts are margined."""
    run, book = work.identity.run, work.identity.book
    methodology = bare_rules(methodology_of(run))
    measures = measures_of(methodology, run.scenarios["origin"].values.tolist())
    return margin_rules(methodology, revaluation_of_run(run, book, methodology), measures)


def _codes(work: StressWork, column: str) -> NDArray[np.int64]:
    names = work.table[column].to_numpy(zero_copy_only=False).astype(str)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def systems_dataset(work: StressWork, compared: Compared) -> xr.Dataset:
    """Return what each arrangement costs and leaves, and what prefunded layers do not cover.

    ``compared`` are the scenarios that break nothing beside prices.
    """
    found, names = compared.insulated, compared.arrangements
    fund = work.identity.book.members()["default_fund"].to_numpy()
    plan = work.identity.named.plan
    beyond = np.stack([beyond_prefunded(plan, one, fund) for one in found.uncovered])
    by_scenario = ("compared", "arrangement")
    scenarios = [work.scenarios.name[row] for row in compared_scenarios(work).tolist()]

    def words(name: str) -> tuple[str, NDArray[np.object_]]:
        return "arrangement", np.array([getattr(one, name) for one in names], dtype=object)

    return xr.Dataset(
        {
            "arrangement_kind": words("kind"),
            "arrangement_of": words("of"),
            "arrangement_capital": ("arrangement", found.capital),
            "arrangement_parts": ("arrangement", found.parts),
            "arrangement_lost": (by_scenario, found.lost.T),
            "arrangement_uncovered": (by_scenario, found.uncovered.sum(axis=1).T),
            "arrangement_failed": (by_scenario, found.failed.T),
            "arrangement_beyond": (by_scenario, beyond.T),
        },
        coords={
            "arrangement": words("name"),
            "compared": np.array(scenarios, dtype=object),
        },
    )


def beyond_prefunded(
    plan: StressPlan, uncovered: NDArray[np.float64], default_fund: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what no prefunded layer bears, ``(member, scenario), (member,) -> (scenario,)``."""
    borne = bear_losses(plan, uncovered, np.zeros(uncovered.shape[1]), default_fund)
    return np.asarray(borne.loss - borne.layers[prefunded(plan.waterfall.layers)].sum(axis=0))
