"""Accounts in one perpetual, a rule book and a plan whose numbers are reckoned by hand."""

import pyarrow as pa

from storage import tables
from storage.book import BookWriter, canonical_instruments
from storage.market import sample_market
from tests.conftest import VOLATILITY_TENOR
from tests.workers.stressed import LAYERS

# The margin of a lone position in BTC is a tenth of its notional, its maintenance eight tenths of
# that.
METHODOLOGY = (
    """
name = "tenth"
version = "1"
effective = 2026-01-01
title = "A tenth of the notional"
sources = ["made up for tests"]
maintenance_factor = 0.8

[netting]
isolated = "account"
cross = "account"
portfolio = "account"

"""
    + VOLATILITY_TENOR
    + """
[grid]
price_range = 0.1
buckets = 1
volatility_up = 0.5
volatility_down = 0.25

[[measures]]
name = "worst_loss"
kind = "worst_loss"
origins = ["grid"]
layer = "base"
"""
)

PLAN = (
    """
name = "by-hand"
version = "1"
effective = 2026-01-01
title = "One fall"
sources = ["made up for tests"]
origins = ["grid"]
depth = 0.5
insurance_fund = 1_000_000.0

[liquidation]
closing = "all"
fee = 0.005

[impact]
coefficient = 1.0
exponent = 0.5
source = "made up"

[cascade]
steps = 1
rounds = 10
least = 0.0

"""
    + LAYERS
    + """
[[markets]]
coin = "BTC"
daily_volume = {volume}
daily_volatility = 0.04
source = "made up"

[[markets]]
coin = "ETH"
daily_volume = 1.0
daily_volatility = 1.0
source = "nobody holds it"

[[markets]]
coin = "SOL"
daily_volume = 1.0
daily_volatility = 1.0
source = "nobody holds it"

[[scenarios]]
name = "fall"
title = "a twentieth"
source = "made up"
[scenarios.shocks.price]
default = -0.05
"""
)

CALM_PLAN = PLAN.replace("{volume}", "1e15").replace("coefficient = 1.0", "coefficient = 0.001")
"""What anybody sells moves no price."""

PRICE = sample_market().index["BTC"].price


def perpetuals_book(folder, holdings, chain="none"):
    """A book of BTC perpetuals: contracts and cash of each account, in thousandths of a coin.

    The cash lies on a chain.

    One more account, which nothing can hurt, holds the other side.
    """
    terms = {"instrument": "PERP", "kind": "perpetual", "settlement": "linear",
             "underlying": "BTC", "settlement_currency": "USD", "expiry": None, "strike": None,
             "option_type": None, "multiplier": 1.0, "lot_size": 0.001, "venue": "v",
             "protocol": "none", "chain": "none"}  # fmt: skip
    other = (-sum(lots for lots, _ in holdings), 1e12)
    rows = [*holdings, other]
    cash = {"asset": "CASH", "chain": chain, "protocol": "none", "underlying": "USD",
            "haircut": 0.0}  # fmt: skip
    with BookWriter(
        folder / "book",
        "by-hand",
        sample_market().as_of,
        canonical_instruments(pa.Table.from_pylist([terms], schema=tables.INSTRUMENTS.schema)),
        pa.Table.from_pylist(
            [{"member": name, "default_fund": 0.0} for name in ("m0", "m1")],
            schema=tables.MEMBERS.schema,
        ),
        pa.Table.from_pylist([cash], schema=tables.ASSETS.schema),
    ) as writer:
        writer.append(
            pa.Table.from_pylist(
                [
                    {"account": f"a{row:03d}", "member": row % 2, "margin_mode": 1}
                    for row in range(len(rows))
                ],
                schema=tables.ACCOUNTS.schema,
            ),
            pa.Table.from_pylist(
                [
                    {"account": row, "instrument": 0, "lots": lots}
                    for row, (lots, _) in enumerate(rows)
                    if lots
                ],
                schema=tables.POSITIONS.schema,
            ),
            pa.Table.from_pylist(
                [
                    {"account": row, "asset": 0, "quantity": money}
                    for row, (_, money) in enumerate(rows)
                ],
                schema=tables.COLLATERAL.schema,
            ),
        )
        return writer.close()
