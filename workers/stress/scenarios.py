"""The scenarios of a stress run: the margin run's, some of them more severe, and the plan's own."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.scenarios.events import event_scenarios
from risk.scenarios.multiples import severe
from risk.scenarios.shocks import SHOCKS, Shocks
from risk.scenarios.specification import EventSpec
from risk.systemic.plan import StressPlan, at_depth

Floats = NDArray[np.float64]

Row = tuple[str, str, str, float, dict[str, Floats]]
"""Name, title, origin, depth and shocks of a scenario."""


@dataclass(frozen=True, slots=True)
class StressScenarios:
    """What a stress run goes through, ``(scenario,)``; shocks are ``(scenario, underlying)``.

    ``depth`` is the part of the daily volume that is there, ``origin`` that of the scenario or
    ``plan``.
    """

    name: tuple[str, ...]
    title: tuple[str, ...]
    origin: tuple[str, ...]
    depth: Floats
    shocks: Shocks
    underlyings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.name)

    def take(self, rows: NDArray[np.int64]) -> "StressScenarios":
        """Return some of them."""
        chosen = rows.tolist()
        return StressScenarios(
            tuple(self.name[row] for row in chosen),
            tuple(self.title[row] for row in chosen),
            tuple(self.origin[row] for row in chosen),
            self.depth[rows],
            Shocks(**{name: getattr(self.shocks, name)[rows] for name in SHOCKS}),
            self.underlyings,
        )


def stress_scenarios(run_scenarios: xr.Dataset, plan: StressPlan) -> StressScenarios:
    """Return the scenarios of a plan on those of a published margin run.

    Raises:
        ValueError: the run lacks an origin or a scenario that the plan names, two scenarios have
            one name, or a scenario of the plan says nothing of a coin.
    """
    coins = run_scenarios["underlying"].values.tolist()
    names = run_scenarios["scenario"].values.tolist()
    origins = run_scenarios["origin"].values.tolist()
    titles = run_scenarios["label"].values.tolist()
    missing = sorted(set(plan.origins) - set(origins))
    if missing:
        raise ValueError(
            f"plan {plan.name} takes scenarios of origin {missing}, the margin run has "
            f"{sorted(set(origins))}; margin the book by a methodology that has them"
        )
    moves = {name: run_scenarios[name].values for name in SHOCKS}
    rows: list[Row] = []
    for row, origin in enumerate(origins):
        if origin in plan.origins:
            shocks = {name: values[row] for name, values in moves.items()}
            rows.append((names[row], titles[row], origin, plan.depth, shocks))
    for severity in plan.severities:
        for name in severity.of:
            if name not in names:
                raise ValueError(
                    f"plan {plan.name} makes {name!r} more severe, which the margin run does not "
                    f"have; its scenarios of origin {list(plan.origins)} are "
                    f"{[one for one, _, _, _, _ in rows]}"
                )
            row = names.index(name)
            for times in severity.times:
                grown = severe(Shocks(**{one: moves[one][row] for one in SHOCKS}), times)
                shocks = {one: getattr(grown, one) for one in SHOCKS}
                title = f"{titles[row]}, {times:g} times"
                rows.append((f"{name} x{times:g}", title, origins[row], plan.depth, shocks))
    rows += _own(plan, coins)
    known = [
        (names[row], titles[row], origins[row], plan.depth, {one: moves[one][row] for one in moves})
        for row in range(len(names))
    ]
    rows += _at_depths(plan, rows, known)
    every = [name for name, *_ in rows]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise ValueError(f"DUPLICATE_SCENARIO: {twice[:5]}; every scenario needs its own name")
    return StressScenarios(
        name=tuple(every),
        title=tuple(title for _, title, _, _, _ in rows),
        origin=tuple(origin for _, _, origin, _, _ in rows),
        depth=np.array([depth for _, _, _, depth, _ in rows]),
        shocks=Shocks(**{name: np.array([one[name] for *_, one in rows]) for name in SHOCKS}),
        underlyings=tuple(coins),
    )


def require_failures(
    plan: StressPlan, names: tuple[str, ...], issuers: tuple[str, ...] | None
) -> None:
    """Refuse failures in scenarios that there are not, and of issuers that claims do not have.

    Without claims ``issuers`` are not known.

    Raises:
        ValueError: a scenario or an issuer is unknown.
    """
    for failure in plan.contagion.failures:
        unknown = sorted(set(failure.of) - set(names))
        if unknown:
            raise ValueError(
                f"plan {plan.name} lets {sorted(failure.lost)} fail in {unknown}, which are no "
                f"scenarios of the run; it has {list(names)}"
            )
        strange = sorted(set(failure.lost) - set(failure.lost if issuers is None else issuers))
        if strange:
            raise ValueError(
                f"plan {plan.name} lets {strange} fail, which issue nothing that accounts hold; "
                f"issuers of the claims are {sorted(issuers or ())}"
            )


def _at_depths(plan: StressPlan, rows: list[Row], known: list[Row]) -> list[Row]:
    """Return scenarios of the plan, or of the margin run, once more at other depths."""
    by_name = {row[0]: row for row in [*known, *rows]}
    found: list[Row] = []
    for depths in plan.depths:
        for name in depths.of:
            if name not in by_name:
                raise ValueError(
                    f"plan {plan.name} takes {name!r} at other depths, which neither the margin "
                    f"run nor the plan has; the plan's scenarios are {[row[0] for row in rows]}"
                )
            _, title, origin, _, shocks = by_name[name]
            for part in depths.parts:
                words = f"{title}, with {100.0 * part:g} % of daily volume there"
                found.append((at_depth(name, part), words, origin, part, shocks))
    return found


def _own(plan: StressPlan, coins: list[str]) -> list[Row]:
    events = [
        EventSpec(name=one.name, label=one.title, shocks=one.shocks) for one in plan.scenarios
    ]
    if not events:
        return []
    for one in plan.scenarios:
        named = {coin for moves in one.shocks.values() for coin in moves}
        unknown = sorted(named - {*coins, "default"})
        if unknown:
            raise ValueError(
                f"scenario {one.name!r} of plan {plan.name} moves {unknown}; the margin run has "
                f"{coins}, and 'default' is every other"
            )
    made = event_scenarios(coins, events)
    return [
        (
            one.name,
            one.title,
            "plan",
            plan.depth if one.depth is None else one.depth,
            {name: made[name].values[row] for name in SHOCKS},
        )
        for row, one in enumerate(plan.scenarios)
    ]
