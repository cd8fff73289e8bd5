"""Charges in plain Python, one position at a time, written from what ``ChargeSpec`` says."""

import math
from collections import defaultdict

from risk.instruments import Instruments, Kind, MarketState, Settlement

KINDS = {
    Kind.SPOT: "spot",
    Kind.FUTURE: "future",
    Kind.PERPETUAL: "perpetual",
    Kind.OPTION: "option",
}


def normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def amount_of(of: str, instruments: Instruments, market: MarketState, row: int) -> float:
    """Return contracts, notional at the index, or gain per unit relative move, of one contract."""
    if of == "contracts":
        return 1.0
    kind, settlement = Kind(instruments.kind[row]), Settlement(instruments.settlement[row])
    index = float(market.index[instruments.underlying[row]])
    forward = index if kind == Kind.SPOT else float(market.forward[row])
    coin = float(market.index[instruments.settlement_underlying[row]])
    size = float(instruments.multiplier[row])
    dated = kind in (Kind.FUTURE, Kind.PERPETUAL)
    if of == "notional":
        if settlement == Settlement.QUANTO:
            return size * index * coin
        return size if dated and settlement == Settlement.INVERSE else size * index
    if dated:
        return {
            Settlement.LINEAR: size * forward,
            # Worth size (1 - F0/F) coins of a dollar; their price moves with F.
            Settlement.INVERSE: size * index / forward,
            Settlement.QUANTO: size * forward * coin,
        }[settlement]
    if kind == Kind.SPOT:
        return size * index
    deviation = float(market.volatility[row]) * math.sqrt(instruments.time_to_expiry[row])
    d1 = math.log(forward / instruments.strike[row]) / deviation + deviation / 2.0
    slope = normal(d1) - (0.0 if instruments.is_call[row] else 1.0)
    return size * slope * (index if settlement == Settlement.INVERSE else forward)


def charged(spec, instruments, market, names, currency, confidence, positions, key, by_currency):
    """Return what one account is charged at a rate of one."""
    groups: dict[tuple, float] = defaultdict(float)
    whole: dict[tuple, float] = {}
    for place, (row, quantity) in enumerate(positions):
        name = names[instruments.underlying[row]]
        if KINDS[Kind(instruments.kind[row])] not in spec.kinds or not market.priced[row]:
            continue
        if spec.underlyings and name not in spec.underlyings:
            continue
        rate = 1.0
        if spec.by_time is not None:
            years = float(instruments.time_to_expiry[row])
            rate = max(spec.by_time.per_year * years, spec.by_time.least)
        if spec.below_confidence is not None:
            sure = confidence[row]
            rate *= 1.0 - sure if sure < spec.below_confidence else 0.0
        unit: tuple = (name,)
        if key == "position":
            unit += (place,)
        elif key == "settlement_currency" or by_currency:
            unit += (int(currency[row]),)
        expiry = (float(instruments.time_to_expiry[row]),)
        option = Kind(instruments.kind[row]) == Kind.OPTION
        group = (
            unit
            + {
                "position": (place,),
                "strike": (*expiry, option, float(instruments.strike[row])),
                "expiry": expiry,
                "unit": (),
            }[spec.group]
        )
        groups[group] += quantity * amount_of(spec.amount, instruments, market, row) * rate
        whole[group] = unit
    return _by_side(spec, groups, whole)


def _by_side(spec, groups, whole):
    sides = {
        "gross": abs,
        "short": lambda amount: max(-amount, 0.0),
        "long": lambda amount: max(amount, 0.0),
    }
    if spec.side == "matched":
        longs, shorts = defaultdict(float), defaultdict(float)
        for group, amount in groups.items():
            (longs if amount > 0.0 else shorts)[whole[group]] += abs(amount)
        taken = {unit: min(longs[unit], shorts[unit]) for unit in {*whole.values()}}
    else:
        taken = {group: sides[spec.side](amount) for group, amount in groups.items()}
    total = 0.0
    for group, amount in taken.items():
        grown = 1.0
        if spec.concentration is not None:
            grown = (
                amount / spec.concentration.daily_volume[group[0]]
            ) ** spec.concentration.exponent
        total += amount * grown
    return total
