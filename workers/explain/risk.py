"""Why an account needs what it needs: sets and units, scenarios, charges, and each leg alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.charges import ChargeSpec, charge_groups
from risk.explanation import binding_scenarios
from risk.kernels import Positions, account_pnl
from risk.kernels.scan import ROTATED, ScanTables
from risk.margin import Holdings, Revaluation, margin_accounts, stack_layers
from risk.margin.scanned import credit_of_accounts
from risk.measures import Measure
from risk.nesting import Nested
from risk.netting import NETTING_KEYS, netting_sets
from risk.scan.explanation import ScannedSet, scan_units
from workers.explain.source import Source


def legs_of(
    source: Source, holdings: Holdings, measures: tuple[Measure, ...]
) -> list[dict[str, Any]]:
    """Return what each position would need alone, under the same rules.

    Their sum less the account's requirement is what the account's offsets are worth.
    """
    number = len(holdings.instrument)
    if not number:
        return []
    alone = Holdings(
        offsets=np.arange(number + 1, dtype=np.int64),
        instrument=holdings.instrument,
        quantity=holdings.quantity,
        margin_mode=np.repeat(holdings.margin_mode, number),
        collateral=np.zeros(number),
        held=np.zeros(number, dtype=np.bool_),
    )
    margin = margin_accounts(alone, source.revaluation, source.methodology, measures)
    names = source.book.instruments()["instrument"]
    return [
        {
            "instrument": names[int(row)].as_py(),
            "requirement": float(margin.requirement[leg]),
            "maintenance": float(margin.maintenance[leg]),
            "layers": dict(
                zip(source.methodology.layers, margin.margin[leg].tolist(), strict=True)
            ),
        }
        for leg, row in enumerate(holdings.instrument.tolist())
    ]


def netting_sets_of(
    source: Source,
    key: str,
    measures: tuple[Measure, ...],
    instrument: NDArray[np.int32],
    quantity: NDArray[np.float64],
) -> list[dict[str, Any]]:
    """Return each netting set: every measure, the scenarios it is made of, and its layers."""
    names, revaluation = source.book.instruments()["instrument"], source.revaluation
    _, offsets = netting_sets(
        np.array([0, len(instrument)]),
        instrument,
        np.array([NETTING_KEYS.index(key)], dtype=np.int8),
        revaluation.settlement,
    )
    sets = len(offsets) - 1
    positions = Positions(np.arange(sets + 1, dtype=np.int64), offsets, instrument, quantity)
    pnl = account_pnl(positions, revaluation.cube)
    explained = []
    for number in range(sets):
        held = range(offsets[number], offsets[number + 1])
        found = []
        for measure in measures:
            binding = binding_scenarios(pnl[number], revaluation.weight, measure)
            found.append(
                {
                    "measure": measure.name,
                    "kind": measure.kind,
                    "level": measure.level,
                    "scenarios_considered": measure.stop - measure.start,
                    "sets_a_layer": measure.binds,
                    "value": -sum(one.weight * one.pnl for one in binding),
                    "scenarios": [
                        {
                            **scenario_of(source, one.scenario),
                            "weight": one.weight,
                            "pnl": one.pnl,
                            "pnl_by_position": {
                                names[int(instrument[at])].as_py(): float(
                                    quantity[at] * revaluation.cube[instrument[at], one.scenario]
                                )
                                for at in held
                            },
                        }
                        for one in binding
                    ],
                }
            )
        values = np.array([[one["value"] for one in found]])
        layers = stack_layers(values, measures)[0]
        explained.append(
            {
                "netting": key,
                "instruments": [names[int(instrument[at])].as_py() for at in held],
                "measures": found,
                "layers": layers.tolist(),
            }
        )
    return explained


def units_of(
    source: Source,
    key: str,
    holdings: Holdings,
    nested: Nested,
) -> list[dict[str, Any]]:
    """Return each unit of a scan: its worst scenario, and what each set makes of it."""
    revaluation, table = source.revaluation, source.book.instruments()
    if revaluation.scan is None:
        return []
    names, tables = table["instrument"], revaluation.scan.tables
    scenarios = source.scenarios["scenario"].values
    explained = []
    for unit in scan_units(
        nested, holdings.instrument, holdings.quantity, revaluation.cube, tables
    ):
        first = int(holdings.instrument[unit.sets[0].positions[0]])
        worst = unit.worst
        explained.append(
            {
                "underlying": table["underlying"][first].as_py(),
                "netting": key,
                "loss": unit.loss,
                "binds": "basis contingency" if worst < 0 else "scenario",
                "scenario": None if worst < 0 else scenario_of(source, worst),
                "weight": 1.0 if worst < 0 else float(tables.weight[worst]),
                "dampened_by": 0.0 if worst < 0 else float(tables.dampener[first, worst]),
                "basis_contingency": unit.basis_loss,
                "pnl_by_scenario": {
                    str(name): float(pnl)
                    for name, pnl, role in zip(scenarios, unit.pnl, tables.role, strict=True)
                    if role <= ROTATED
                },
                "sets": [
                    _set(one, worst, names, holdings, revaluation, tables) for one in unit.sets
                ],
            }
        )
    return explained


def scan_of(
    source: Source,
    key: str,
    holdings: Holdings,
    nested: Nested,
    units: list[dict[str, Any]],
) -> dict[str, float]:
    """Return what makes the layer of a scan of its units: factor x (their losses - credit)."""
    spec = source.methodology.scan
    if spec is None:
        return {}
    loss = np.array([max(0.0, unit["loss"]) for unit in units])
    credit = credit_of_accounts(
        np.array([NETTING_KEYS.index(key)], dtype=np.int8),
        nested,
        holdings.instrument[nested.order],
        holdings.quantity[nested.order],
        loss,
        source.revaluation,
    )
    return {
        "loss": float(loss.sum()),
        "credit": float(credit[0]),
        "initial_factor": spec.initial_factor,
        "maintenance_factor": spec.maintenance_factor,
    }


def _set(
    one: ScannedSet,
    worst: int,
    names: Any,
    holdings: Holdings,
    revaluation: Revaluation,
    tables: ScanTables,
) -> dict[str, Any]:
    rows = holdings.instrument[one.positions]
    first = int(rows[0])
    return {
        "instruments": [names[int(row)].as_py() for row in rows],
        "value": one.value,
        "discount_of_gain": float(tables.positive[first]),
        "discount_of_loss": float(tables.negative[first]),
        "basis_contingency": one.basis_loss,
        "pnl": None if worst < 0 else float(one.pnl[worst]),
        "counted": None if worst < 0 else float(one.counted[worst]),
        "pnl_by_position": {}
        if worst < 0
        else {
            names[int(row)].as_py(): float(quantity * revaluation.cube[row, worst])
            for row, quantity in zip(rows, holdings.quantity[one.positions], strict=True)
        },
    }


def scenario_of(source: Source, row: int) -> dict[str, Any]:
    """Return name, label and moves of a scenario."""
    chosen = source.scenarios.isel(scenario=row)
    return {
        "scenario": str(chosen["scenario"].item()),
        "label": str(chosen["label"].item()),
        "price": {
            str(coin): float(shock)
            for coin, shock in zip(chosen["underlying"].values, chosen["price"].values, strict=True)
        },
        "volatility": {
            str(coin): float(shock)
            for coin, shock in zip(
                chosen["underlying"].values, chosen["volatility"].values, strict=True
            )
        },
    }


def _scale_words(spec: ChargeSpec) -> list[str]:
    """Return what the amount of a charge was scaled by before its rate."""
    words = []
    if spec.by_time is not None:
        words.append(f"{spec.by_time.per_year:g} a year of time, {spec.by_time.least:g} at least")
    if spec.concentration is not None:
        words.append(f"(amount / daily volume)^{spec.concentration.exponent:g}")
    if spec.below_confidence is not None:
        words.append(f"1 - confidence, where that is below {spec.below_confidence:g}")
    return words


def charges_of(
    source: Source,
    holdings: Holdings,
    nested: Nested,
) -> list[dict[str, Any]]:
    """Return what each charge is made of; a layer is the sum of its charges, or a floor of it."""
    order = nested.order
    instrument, quantity = holdings.instrument[order], holdings.quantity[order]
    explained = []
    for charge in source.revaluation.charges:
        spec = charge.spec
        taken, _ = charge_groups(charge, nested.account, instrument, quantity, nested)
        amount = float(taken.sum())
        explained.append(
            {
                "layer": spec.layer,
                "role": spec.role,
                "of": f"{spec.side} {spec.amount} of {' and '.join(spec.kinds)} by {spec.group}",
                "scaled_by": _scale_words(spec),
                "charged_on": amount,
                "groups": int(np.count_nonzero(taken)),
                "initial_rate": spec.initial,
                "maintenance_rate": spec.maintenance,
                "initial": spec.initial * amount,
                "maintenance": spec.maintenance * amount,
            }
        )
    return explained
