"""Small universes of instruments and random books for the tests of scans, charges and nesting."""

from collections.abc import Sequence

import numpy as np

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.margin import Holdings
from risk.nesting import RiskOrder, risk_order

COINS = ("BTC", "ETH")
INDEX = (100.0, 10.0)
CASH, IN_BTC, IN_ETH = range(3)


def instruments_of(rows: Sequence[dict]) -> Instruments:
    """Build instruments from dictionaries; what is not said is a linear contract of one BTC."""

    def column(name, default, dtype):
        return np.array([row.get(name, default) for row in rows], dtype=dtype)

    return Instruments(
        kind=column("kind", Kind.PERPETUAL, np.int8),
        settlement=column("settlement", Settlement.LINEAR, np.int8),
        underlying=column("underlying", 0, np.int16),
        settlement_underlying=column("settlement_underlying", -1, np.int16),
        multiplier=column("multiplier", 1.0, np.float64),
        strike=column("strike", 0.0, np.float64),
        is_call=column("is_call", False, np.bool_),
        time_to_expiry=column("time_to_expiry", 0.0, np.float64),
    )


def market_of(instruments: Instruments, volatility: float = 0.6, **changes) -> MarketState:
    """Put forwards at the index, unless told otherwise."""
    index = np.array(changes.get("index", INDEX))
    size = len(instruments)
    forward = index[instruments.underlying] * (1.0 + np.asarray(changes.get("premium", 0.0)))
    priced = changes.get("priced", np.ones(size, dtype=np.bool_))
    return MarketState(index, forward, np.full(size, volatility), priced)


def universe() -> tuple[Instruments, np.ndarray]:
    """Every kind and settlement of two coins, with the currency that each pays in, in its order."""
    rows: list[dict] = []
    for currency in (CASH, IN_BTC, IN_ETH):
        for coin, price in enumerate(INDEX):
            inverse = currency != CASH
            if inverse and currency - 1 != coin:
                continue
            common = {
                "currency": currency,
                "underlying": coin,
                "settlement": Settlement.INVERSE if inverse else Settlement.LINEAR,
                "settlement_underlying": coin if inverse else -1,
            }
            if not inverse:
                rows.append(common | {"kind": Kind.SPOT, "multiplier": 0.5})
            size = 10.0 if inverse else 0.1
            rows.append(common | {"kind": Kind.PERPETUAL, "multiplier": size})
            rows.append(common | {"kind": Kind.FUTURE, "multiplier": size, "time_to_expiry": 0.2})
            rows += [
                common
                | {"kind": Kind.OPTION, "strike": price * share, "is_call": call}
                | {"time_to_expiry": years}
                for years in (0.05, 0.2)
                for share in (0.8, 1.0, 1.3)
                for call in (True, False)
            ]
    quanto = {"settlement": Settlement.QUANTO, "settlement_underlying": 1, "multiplier": 0.01}
    rows.append(quanto | {"currency": IN_ETH, "underlying": 0})
    return instruments_of(rows), np.array([row["currency"] for row in rows], dtype=np.int32)


def order_of(instruments: Instruments, currency) -> RiskOrder:
    return risk_order(instruments, np.asarray(currency, dtype=np.int32))


def random_holdings(seed: int, instruments: int, accounts: int = 8, most: int = 9) -> Holdings:
    """Accounts of every mode, empty ones and held ones; quantities on a coarse lattice."""
    rng = np.random.default_rng(seed)
    count = rng.integers(0, min(most, instruments) + 1, accounts)
    count[rng.random(accounts) < 0.15] = 0
    rows = [np.sort(rng.choice(instruments, n, replace=False)) for n in count]
    instrument = np.concatenate([np.zeros(0, dtype=np.int64), *rows]).astype(np.int32)
    # On a lattice ties and exact zeros occur.
    quantity = rng.integers(-8, 9, len(instrument)) * 0.25
    quantity[quantity == 0.0] = 1.0
    return Holdings(
        offsets=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        instrument=instrument,
        quantity=quantity,
        margin_mode=rng.integers(0, 3, accounts).astype(np.int8),
        collateral=np.round(rng.exponential(50.0, accounts), 2),
        held=rng.random(accounts) < 0.15,
    )


def account_of(positions: Sequence[tuple[int, float]], mode: int = 2, cash: float = 0.0):
    """One account that holds pairs of instrument row and quantity."""
    return Holdings(
        offsets=np.array([0, len(positions)]),
        instrument=np.array([row for row, _ in positions], dtype=np.int32),
        quantity=np.array([float(held) for _, held in positions]),
        margin_mode=np.array([mode], dtype=np.int8),
        collateral=np.array([cash]),
        held=np.zeros(1, dtype=np.bool_),
    )
