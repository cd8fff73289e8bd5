"""One account at a time in plain NumPy: the reference that stored numbers are held against.

Nothing here is compiled, fused, blocked or shared with ``risk.kernels``, ``risk.margin``,
``risk.nesting`` or ``risk.pricing.cells``. A contract is repriced from the textbook formula, a
netting set is a mask, a charge is a loop over groups. It takes milliseconds an account, where a
run takes microseconds, and has nothing in common with it that both could have wrong but the
quantiles of ``risk.measures``, which are held against NumPy's, and the amounts of
``risk.charges``.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from risk.charges import Charge
from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.measures import Measure, expected_shortfall, value_at_risk
from risk.methodology import Methodology
from risk.revaluation import VolatilityTenor
from risk.scenarios.shocks import SHOCKS, Shocks

Floats = NDArray[np.float64]


def left_out(methodology: Methodology) -> str:
    """Return which part of a methodology has no reference here, nothing where all of it has.

    >>> from risk.methodology import parse_methodology
    >>> from importlib import resources
    >>> folder = resources.files("risk.methodologies")
    >>> [left_out(parse_methodology((folder / f"{name}.toml").read_text())) for name in
    ...  ("margincube-portfolio-2026-01", "deribit-pme-2026-02")]
    ['', 'scan']
    """
    parts = ("scan", "standard", "sensitivities", "wrong_way", "collateral")
    return ", ".join(name for name in parts if getattr(methodology, name))


@dataclass(frozen=True)
class Priced:
    """Instruments as they are valued: ``value`` ``(instrument,)``, ``pnl`` of one contract.

    ``pnl`` is ``(instrument, scenario)``; both in the reporting currency, zero where not priced.
    """

    value: Floats
    pnl: Floats


def reprice(
    instruments: Instruments, market: MarketState, shocks: Shocks, tenor: VolatilityTenor
) -> Priced:
    """Return value and P&L of one contract of each instrument, by the formulas of ``revalue``."""
    scenarios = len(shocks.price)
    value, pnl = np.zeros(len(instruments)), np.zeros((len(instruments), scenarios))
    still = Shocks(**{name: np.zeros((1, len(market.index))) for name in SHOCKS})
    for row in np.flatnonzero(market.priced):
        before = _worth(instruments, market, still, tenor, int(row), moved=False)[0]
        after = _worth(instruments, market, shocks, tenor, int(row), moved=True)
        pnl[row] = after - before
        if instruments.kind[row] in (Kind.SPOT, Kind.OPTION):
            value[row] = before
    return Priced(value, pnl)


def _worth(
    terms: Instruments,
    market: MarketState,
    shocks: Shocks,
    tenor: VolatilityTenor,
    row: int,
    *,
    moved: bool,
) -> Floats:
    """Return what one contract is worth in each scenario, ``(scenario,)``, up to a constant."""
    coin, paid_in = int(terms.underlying[row]), int(terms.settlement_underlying[row])
    kind, settlement = Kind(terms.kind[row]), Settlement(terms.settlement[row])
    years, size, first = (
        float(terms.time_to_expiry[row]),
        float(terms.multiplier[row]),
        float(market.forward[row]),
    )
    move = 1.0 + shocks.price[:, coin]
    index = market.index[coin] * move
    if kind == Kind.SPOT:
        return np.asarray(size * index)
    if kind == Kind.PERPETUAL:
        forward = first * move * (1.0 + shocks.perpetual_basis[:, coin])
    else:
        forward = first * move * (1.0 + shocks.forward_basis[:, coin] * years)
    if kind != Kind.OPTION:
        if settlement == Settlement.INVERSE:
            return np.asarray(size * (1.0 / first - 1.0 / forward) * index)
        if settlement == Settlement.QUANTO:
            paid = market.index[paid_in] * (1.0 + shocks.price[:, paid_in])
            return np.asarray(size * (forward - first) * paid)
        return np.asarray(size * (forward - first))
    volatility = np.full(len(forward), float(market.volatility[row]))
    if moved:
        scale = tenor.scale(terms.time_to_expiry[row : row + 1])[0]
        volatility *= 1.0 + scale * shocks.volatility[:, coin]
        volatility = np.maximum(volatility, tenor.minimum_volatility)
    strike, deviation = float(terms.strike[row]), volatility * np.sqrt(years)
    with np.errstate(divide="ignore", invalid="ignore"):
        upper = np.log(forward / strike) / deviation + deviation / 2.0
    sign = 1.0 if terms.is_call[row] else -1.0
    smooth = forward * ndtr(sign * upper) - strike * ndtr(sign * (upper - deviation))
    premium = np.where(deviation > 0.0, sign * smooth, np.maximum(sign * (forward - strike), 0.0))
    if settlement == Settlement.INVERSE:
        return np.asarray(size * premium * index / forward)
    return np.asarray(size * premium)


@dataclass(frozen=True)
class Held:
    """What one account holds: ``instrument`` and ``quantity`` ``(position,)``, and its collateral.

    ``key`` is its netting key; ``collateral`` what it adds to equity.
    """

    instrument: NDArray[np.int64]
    quantity: Floats
    key: str
    collateral: float


@dataclass(frozen=True)
class Reference:
    """What the accounts of a run share."""

    instruments: Instruments
    currency: NDArray[np.int32]
    priced: Priced
    weight: Floats
    charges: Sequence[Charge]
    methodology: Methodology
    measures: Sequence[Measure]


def margin_of(held: Held, shared: Reference) -> dict[str, Floats]:
    """Return the numbers of one account by the names that a run stores them under.

    Each is ``()`` but ``margin`` ``(layer,)`` and ``risk_measure`` ``(measure,)``.
    """
    rules = shared.methodology
    layers = [0.0] * len(rules.base_layers)
    measured = np.zeros(len(shared.measures))
    sets = _netting_sets(held, shared.currency)
    for chosen in sets:
        pnl = held.quantity[chosen] @ shared.priced.pnl[held.instrument[chosen]]
        found = [_measure(one, pnl, shared.weight) for one in shared.measures]
        measured += np.maximum(found, 0.0)
        for place, amount in enumerate(_stacked(found, shared.measures)):
            layers[place] += amount
    kept = (rules.maintenance_factor or 0.0) * sum(layers)
    if rules.model_risk is not None:
        spec = rules.model_risk
        of_models = measured[[rules.measured.index(name) for name in spec.models]]
        spread = np.ptp(of_models) if spec.spread == "range" else np.std(of_models)
        layers.append(spec.initial * float(spread))
        kept += spec.maintenance * float(spread)
    for layer in rules.charge_layers:
        charges = [charge for charge in shared.charges if charge.spec.layer == layer]
        amounts = [charged(held, charge, shared) for charge in charges]
        asked = sum(c.spec.initial * a for c, a in zip(charges, amounts, strict=True))
        due = sum(c.spec.maintenance * a for c, a in zip(charges, amounts, strict=True))
        if charges[0].spec.role == "floor":
            asked, due = max(asked - sum(layers), 0.0), max(due - kept, 0.0)
        layers.append(asked)
        kept += due
    for buffer in rules.buffers:
        layers.append(buffer.initial * sum(layers))
        kept *= 1.0 + buffer.maintenance
    worth = float(held.quantity @ shared.priced.value[held.instrument])
    required, equity = sum(layers), held.collateral + worth
    numbers = {
        "collateral_value": held.collateral,
        "position_value": worth,
        "equity": equity,
        "requirement": required,
        "maintenance": kept,
        "excess": equity - required,
        "netting_sets": float(len(sets)),
        "positions": float(len(held.quantity)),
    }
    return {name: np.asarray(value) for name, value in numbers.items()} | {
        "margin": np.array(layers),
        "risk_measure": measured,
    }


def _netting_sets(held: Held, currency: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Return the positions of each netting set."""
    rows = np.arange(len(held.instrument), dtype=np.int64)
    label = {
        "position": rows,
        "settlement_currency": currency[held.instrument].astype(np.int64),
        "account": np.zeros_like(rows),
    }[held.key]
    return [np.flatnonzero(label == one) for one in np.unique(label)]


def _measure(measure: Measure, pnl: Floats, weight: Floats) -> float:
    within = slice(measure.start, measure.stop)
    if measure.kind == "worst_loss":
        return float(-np.min(weight[within] * pnl[within]))
    if measure.kind == "value_at_risk":
        return value_at_risk(pnl[within], measure.level, measure.convention, measure.age_decay)
    return expected_shortfall(pnl[within], measure.level, measure.age_decay)


def _stacked(found: Sequence[float], measures: Sequence[Measure]) -> list[float]:
    """Return what each layer asks of one set beyond those before it."""
    asked: list[float] = []
    for value, measure in zip(found, measures, strict=True):
        if measure.joins:
            asked[-1] += measure.weight * value
        elif measure.binds:
            asked.append(measure.weight * value)
    reached, layers = 0.0, []
    for one in asked:
        layers.append(max(one - reached, 0.0))
        reached = max(reached, one)
    return layers


def charged(held: Held, charge: Charge, shared: Reference) -> float:
    """Return what an account is charged at a rate of one."""
    spec, terms = charge.spec, shared.instruments
    amount: dict[tuple[object, ...], float] = defaultdict(float)
    volume: dict[tuple[object, ...], float] = {}
    unit_of: dict[tuple[object, ...], tuple[object, ...]] = {}
    for place, (row, quantity) in enumerate(
        zip(held.instrument.tolist(), held.quantity.tolist(), strict=True)
    ):
        if charge.amount[row] == 0.0:
            continue
        unit: tuple[object, ...] = (int(terms.underlying[row]),)
        if held.key == "position":
            unit += (place,)
        elif held.key == "settlement_currency":
            unit += (int(shared.currency[row]),)
        expiry = (*unit, float(terms.time_to_expiry[row]))
        strike = (*expiry, terms.kind[row] == Kind.OPTION, float(terms.strike[row]))
        group = {
            "position": (*unit, "position", place),
            "strike": strike,
            "expiry": expiry,
            "unit": unit,
        }[spec.group]
        amount[group] += quantity * float(charge.amount[row])
        volume[group] = float(charge.volume[row])
        unit_of[group] = unit
    if spec.side == "matched":
        sides: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for group, total in amount.items():
            sides[unit_of[group]][total < 0.0] += abs(total)
            volume[unit_of[group]] = volume[group]
        taken = {unit: min(pair) for unit, pair in sides.items()}
    else:
        sign = {"gross": 0.0, "short": -1.0, "long": 1.0}[spec.side]
        taken = {
            group: max(sign * total, 0.0) if sign else abs(total) for group, total in amount.items()
        }
    if spec.concentration is None:
        return sum(taken.values())
    power = spec.concentration.exponent
    return float(sum(total * (total / volume[group]) ** power for group, total in taken.items()))
