"""Explain one account of a run: every number that its requirement is made of.

The account is computed again from the stored cube and the book, and must agree with what the run
stored, so an explanation is also a check.
"""

from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from risk.charges import charge_groups
from risk.explanation import binding_scenarios
from risk.kernels import Positions, account_pnl
from risk.kernels.scan import ROTATED, ScanTables
from risk.margin import Holdings, Revaluation, margin_accounts, measures_of, stack_layers
from risk.measures import Measure
from risk.methodology import Methodology, parse_methodology
from risk.nesting import Nested, nest
from risk.netting import NETTING_KEYS, netting_sets
from risk.scan.explanation import ScannedSet, scan_units
from storage.book import Book
from storage.codes import CODES
from storage.runs import Run
from storage.tables import MARGIN_MODES
from workers.inputs import book_of
from workers.revaluation import revaluation_of_run
from workers.shards import Shard
from workers.tasks import read_holdings
from workers.terms import CASH


class CannotExplain(ValueError):
    """A number is not the one that was stored."""


def explain_account(run: Run, account: str) -> dict[str, Any]:
    """Return positions, collateral, netting sets, scenarios and layers of one account.

    Raises:
        BookChanged: the book is not the one that the run used.
        CannotExplain: a number is not the one that was stored.
        AccountUnknown: the book has no account of that name.
    """
    book, rules = book_of(run), run.manifest["inputs"]["methodology"]
    methodology = parse_methodology(rules["text"], rules["events"])
    row = book.account_row(account)
    shard = Shard(0, row, row + 1)
    table = book.account_table(row, row + 1)
    mode = int(table["margin_mode"][0].as_py())
    status = int(run.accounts["status"][row])
    explained: dict[str, Any] = {
        "run_id": run.run_id,
        "account": account,
        "member": book.members()["member"][table["member"][0].as_py()].as_py(),
        "margin_mode": MARGIN_MODES[mode],
        "status": "held back" if status else "margined",
        "held_because": _held_because(run, book, row) if status else [],
    }
    lot_size = run.instruments["lot_size"].values
    value, priced, collateral = _collateral(run, book, row)
    holdings = read_holdings(book, shard, lot_size, value, priced)
    explained["collateral"] = collateral
    explained["positions"] = _positions(run, book, holdings.instrument, holdings.quantity)
    if status:
        return explained
    revaluation = revaluation_of_run(run, book, methodology)
    measures = measures_of(methodology, run.scenarios["origin"].values.tolist())
    margin = margin_accounts(holdings, revaluation, methodology, measures)
    stored = run.accounts.isel(account=row).load()
    for name in ("margin", "risk_measure", "equity", "requirement", "maintenance", "excess"):
        if not np.array_equal(getattr(margin, name)[0], stored[name].values):
            raise CannotExplain(
                f"account {account}: {name} is {getattr(margin, name)[0]} when computed again and "
                f"{stored[name].values} as stored in {run.run_id}; verify the run's inputs"
            )
    key = getattr(methodology.netting, MARGIN_MODES[mode])
    nested = nest(
        holdings.offsets,
        holdings.instrument,
        np.array([NETTING_KEYS.index(key)], dtype=np.int8),
        revaluation.order,
        methodology.scan is not None and methodology.scan.unit == "underlying_settlement",
    )
    if methodology.scan is None:
        explained["netting_sets"] = _netting_sets(
            *(run, book, key, measures, revaluation, holdings.instrument, holdings.quantity)
        )
    else:
        explained["units"] = _units(run, book, key, revaluation, holdings, nested)
    explained["layers"] = [
        {"layer": layer, "amount": float(amount)}
        for layer, amount in zip(methodology.layers, margin.margin[0], strict=True)
    ]
    explained |= {
        "charges": _charges(methodology, revaluation, holdings, nested),
        "collateral_value": float(margin.collateral_value[0]),
        "position_value": float(margin.position_value[0]),
        "equity": float(margin.equity[0]),
        "requirement": float(margin.requirement[0]),
        "maintenance": float(margin.maintenance[0]),
        "excess": float(margin.excess[0]),
        "shortfall": max(0.0, -float(margin.excess[0])),
    }
    return explained


def _held_because(run: Run, book: Book, row: int) -> list[str]:
    """Return each reason why an account is not margined, with what to do about it."""
    reasons = book.held_reasons()
    codes = reasons.filter(pc.equal(reasons["account"], row))["code"].to_pylist()
    found = [
        f"{code}, a row of the account is in quarantine"
        + (f": {CODES[code].action}" if code in CODES else "")
        for code in sorted(set(codes))
    ]
    priced = run.instruments["priced"].values.astype(np.bool_)
    held = book.position_slice(row, row + 1).instrument
    names = book.instruments()["instrument"]
    found += [
        f"PRICE_MISSING, {names[int(at)].as_py()} has no price in the market of the run, so its "
        "value is not known: give the market a quote or a surface for it, or take the position out"
        for at in held[~priced[held]]
    ]
    return found or ["PRICE_MISSING, an asset of its collateral has no price in the market"]


def _collateral(
    run: Run, book: Book, row: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[dict[str, Any]]]:
    assets = book.assets()
    price = {CASH: 1.0} | run.manifest["index"]
    underlying = assets["underlying"].to_pylist()
    haircut = assets["haircut"].to_numpy()
    priced = np.array([name in price for name in underlying])
    value = np.array([price.get(name, 0.0) for name in underlying]) * (1.0 - haircut)
    held = book.collateral_slice(row, row + 1)
    rows = [
        {
            "asset": assets["asset"][asset].as_py(),
            "chain": assets["chain"][asset].as_py(),
            "protocol": assets["protocol"][asset].as_py(),
            "quantity": quantity,
            "price": price.get(underlying[asset]),
            "haircut": float(haircut[asset]),
            "value": quantity * float(value[asset]),
        }
        for asset, quantity in zip(held.asset.tolist(), held.quantity.tolist(), strict=True)
    ]
    return value, priced, rows


def _positions(
    run: Run, book: Book, instrument: NDArray[np.int32], quantity: NDArray[np.float64]
) -> list[dict[str, Any]]:
    table = book.instruments()
    stored = run.instruments
    return [
        {
            "instrument": table["instrument"][row].as_py(),
            "kind": table["kind"][row].as_py(),
            "settlement": table["settlement"][row].as_py(),
            "quantity": contracts,
            "multiplier": table["multiplier"][row].as_py(),
            "forward": float(stored["forward"][row]),
            "volatility": float(stored["volatility"][row]),
            "priced": bool(stored["priced"][row]),
            "value_of_one": float(stored["value"][row]),
            "value": contracts * float(stored["value"][row]) + 0.0,
        }
        for row, contracts in zip(instrument.tolist(), quantity.tolist(), strict=True)
    ]


def _netting_sets(
    run: Run,
    book: Book,
    key: str,
    measures: tuple[Measure, ...],
    revaluation: Revaluation,
    instrument: NDArray[np.int32],
    quantity: NDArray[np.float64],
) -> list[dict[str, Any]]:
    names = book.instruments()["instrument"]
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
                            **_scenario(run, one.scenario),
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


def _units(
    run: Run,
    book: Book,
    key: str,
    revaluation: Revaluation,
    holdings: Holdings,
    nested: Nested,
) -> list[dict[str, Any]]:
    """Return each unit of a scan: its worst scenario, and what each set makes of it."""
    if revaluation.scan is None:
        raise CannotExplain("the run holds no scan")
    table, tables = book.instruments(), revaluation.scan.tables
    names = table["instrument"]
    scenarios = run.scenarios["scenario"].values
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
                "scenario": None if worst < 0 else _scenario(run, worst),
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


def _scenario(run: Run, row: int) -> dict[str, Any]:
    chosen = run.scenarios.isel(scenario=row)
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


def _charges(
    methodology: Methodology,
    revaluation: Revaluation,
    holdings: Holdings,
    nested: Nested,
) -> list[dict[str, Any]]:
    """Return what each charge is made of; a layer is the sum of its charges, or a floor of it."""
    order = nested.order
    instrument, quantity = holdings.instrument[order], holdings.quantity[order]
    explained = []
    for charge in revaluation.charges:
        spec = charge.spec
        taken, _ = charge_groups(charge, nested.account, instrument, quantity, nested)
        amount = float(taken.sum())
        explained.append(
            {
                "layer": spec.layer,
                "role": spec.role,
                "of": f"{spec.side} {spec.amount} of {' and '.join(spec.kinds)} by {spec.group}",
                "charged_on": amount,
                "groups": int(np.count_nonzero(taken)),
                "initial_rate": spec.initial,
                "maintenance_rate": spec.maintenance,
                "initial": spec.initial * amount,
                "maintenance": spec.maintenance * amount,
            }
        )
    return explained
