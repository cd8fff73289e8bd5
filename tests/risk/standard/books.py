"""Small universes of instruments for the tests of standard margin, and a twin in plain Python.

The twin follows ``docs/standard.md``: dictionaries and loops, one account, nothing shared with
the engine but the rule book itself.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.revaluation import contract_value
from risk.standard import StandardSpec, parse_standard

FOLDER = Path(__file__).parents[3] / "risk" / "methodologies" / "standard"
COINS = ("BTC", "ETH", "SOL")
INDEX = (30_000.0, 2_000.0, 100.0)


def shipped(name: str) -> StandardSpec:
    return parse_standard((FOLDER / f"{name}.toml").read_text())


def shipped_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def instruments_of(rows: Sequence[dict]) -> Instruments:
    """Build instruments from dictionaries; what is not said is a linear contract of one coin."""

    def column(name, default, dtype):
        return np.array([row.get(name, default) for row in rows], dtype=dtype)

    return Instruments(
        kind=column("kind", Kind.OPTION, np.int8),
        settlement=column("settlement", Settlement.LINEAR, np.int8),
        underlying=column("underlying", 0, np.int16),
        settlement_underlying=column("settlement_underlying", -1, np.int16),
        multiplier=column("multiplier", 1.0, np.float64),
        strike=column("strike", 0.0, np.float64),
        is_call=column("is_call", False, np.bool_),
        time_to_expiry=column("time_to_expiry", 0.0, np.float64),
    )


def market_of(instruments: Instruments, premium: float = 0.01, volatility: float = 0.7):
    """Put every forward a premium above its index."""
    index = np.array(INDEX)
    forward = index[instruments.underlying] * (1.0 + premium)
    spot = instruments.kind == Kind.SPOT
    forward[spot] = index[instruments.underlying][spot]
    size = len(instruments)
    return MarketState(index, forward, np.full(size, volatility), np.ones(size, dtype=np.bool_))


def universe() -> Instruments:
    """Every kind, settlement and coin, with two expiries of five strikes, in canonical order."""
    rows = []
    for settlement, paying in ((Settlement.LINEAR, -1), (Settlement.INVERSE, 0)):
        for coin, price in enumerate(INDEX):
            common = {
                "settlement": settlement,
                "underlying": coin,
                "settlement_underlying": paying if paying < 0 else coin,
            }
            inverse = settlement == Settlement.INVERSE
            size = 10.0 if inverse else 0.1
            if not inverse:
                rows.append({**common, "kind": Kind.SPOT, "multiplier": 0.5})
            future = {**common, "kind": Kind.FUTURE, "multiplier": size}
            rows.append({**future, "time_to_expiry": 0.25})
            rows.append({**common, "kind": Kind.PERPETUAL, "multiplier": size})
            rows += [
                {**common, "strike": price * share, "is_call": call, "time_to_expiry": years}
                for years in (0.02, 0.25)
                for share in (0.6, 0.9, 1.0, 1.1, 1.5)
                for call in (True, False)
            ]
    return instruments_of(rows)


UNIVERSE = universe()
MARKET = market_of(UNIVERSE)
VALUE = contract_value(UNIVERSE, MARKET)


def rule_for(spec: StandardSpec, kind: int, settlement: int, coin: str):
    for rule in spec.rules:
        same = Kind[rule.kind.upper()] == kind
        paid = rule.settlement in (None, Settlement(settlement).name.lower())
        if same and paid and (rule.underlyings is None or coin in rule.underlyings):
            return rule
    return None


def _future(rule, quantity, settlement, multiplier, index, forward):
    price = forward if rule.price == "mark" else index
    if settlement == Settlement.INVERSE:
        coins = abs(quantity) * multiplier / price
        notional = coins * index
    else:
        coins = abs(quantity) * multiplier
        notional = coins * price
    if rule.form == "fraction":
        return (
            notional * (rule.initial + rule.initial_per_coin * coins),
            notional * (rule.maintenance + rule.maintenance_per_coin * coins),
        )
    bracket = [one for one in rule.brackets if one.floor <= notional][-1]
    keep = bracket.maintenance * notional - bracket.deduction
    return bracket.initial * notional, max(keep, 0.0)


def _option(rule, is_call, strike, multiplier, index, forward, value):
    """One short contract."""
    reference = forward if rule.moneyness == "forward" else index
    out = max((strike - reference) / reference * (1 if is_call else -1), 0.0)
    notional = multiplier * index
    side = "call" if is_call else "put"
    keep = max(
        getattr(rule, f"{side}_maintenance") * notional,
        getattr(rule, f"{side}_maintenance_of_mark") * value,
    )
    keep += rule.liquidation_fee * notional + value
    initial = max(rule.initial_maximum - out, rule.initial_minimum) * notional + value
    return max(initial, getattr(rule, f"{side}_initial_over_maintenance") * keep), keep


def _settlement_loss(legs):
    """The largest loss at expiry, over zero and every strike; legs of one expiry."""
    worst = 0.0
    for price in (0.0, *(strike for _, _, strike, _ in legs)):
        payoff = math.fsum(
            quantity * multiplier * max(price - strike if is_call else strike - price, 0.0)
            for quantity, is_call, strike, multiplier in legs
        )
        worst = min(worst, payoff)
    return -worst


def twin(positions, spec, instruments, market, value, coins, confidence=None, stable=1.0):
    """Margin one account of ``(row, quantity)``: initial, maintenance and layers by name."""
    layer = defaultdict(float)
    maintenance = 0.0
    expiries = defaultdict(list)
    for row, quantity in positions:
        if quantity == 0.0:
            continue
        coin = int(instruments.underlying[row])
        kind, settlement = int(instruments.kind[row]), int(instruments.settlement[row])
        rule = rule_for(spec, kind, settlement, coins[coin])
        index, forward = market.index[coin], market.forward[row]
        multiplier = instruments.multiplier[row]
        notional = multiplier * index
        short = max(-quantity, 0.0)
        exposed = abs(quantity)
        if kind == Kind.OPTION:
            exposed = short
            terms = (bool(instruments.is_call[row]), instruments.strike[row], multiplier)
            initial, keep = _option(rule, *terms, index, forward, value[row])
            if rule.relief == "none":
                layer["options"] += short * initial
                maintenance += short * keep
            else:
                key = (coin, int(instruments.settlement_underlying[row]))
                expiries[(*key, instruments.time_to_expiry[row])].append(
                    (quantity, *terms, short * initial, short * keep, forward, rule)
                )
        elif kind == Kind.SPOT:
            layer["collateral_haircut"] += (
                abs(quantity) * value[row] * (1.0 - rule.factor * rule.initial_scale)
            )
            maintenance += abs(quantity) * value[row] * (1.0 - rule.factor)
        else:
            if settlement == Settlement.INVERSE:
                notional = multiplier
            initial, keep = _future(rule, quantity, settlement, multiplier, index, forward)
            layer["futures"] += initial
            maintenance += keep
        if confidence is not None and spec.oracle_confidence is not None:
            unsure = confidence[row] < spec.oracle_confidence.threshold
            charge = (1.0 - confidence[row]) * spec.oracle_confidence.factor * notional
            layer["oracle_confidence"] += exposed * charge if unsure else 0.0
        if spec.depeg is not None and kind != Kind.SPOT:
            lost = max(spec.depeg.threshold - stable, 0.0) * spec.depeg.factor
            layer["depeg"] += exposed * notional * lost
    for legs in expiries.values():
        loss = _settlement_loss([leg[:4] for leg in legs])
        rule, forward = legs[0][7], legs[0][6]
        calls = math.fsum(leg[0] * leg[3] for leg in legs if leg[1])
        naked = max(-calls, 0.0) * forward
        alone = math.fsum(leg[4] for leg in legs)
        unpaired = naked * rule.unpaired_call_initial
        if loss + unpaired < alone:
            layer["options"] += loss
            layer["unpaired_calls"] += unpaired
        else:
            layer["options"] += alone
        maintenance += min(
            loss + naked * rule.unpaired_call_maintenance, math.fsum(leg[5] for leg in legs)
        )
    return sum(layer.values()), maintenance, layer
