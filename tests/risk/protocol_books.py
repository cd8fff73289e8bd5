"""Small accounts under a protocol's rules, from weights to margin, through the engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from risk.collateral import AssetHoldings, collateral_weights
from risk.instruments import Instruments, Kind, MarketState
from risk.margin import AccountMargin, Holdings, Revaluation, margin_accounts
from risk.measures import Measure
from risk.methodology import Methodology
from risk.nesting import risk_order
from risk.revaluation import contract_value
from risk.standard.kernel import Form
from risk.standard.terms import standard_terms
from tests.risk.books import instruments_of
from tests.risk.engine import DOCUMENT

REPORTED = {"name": "event_loss", "kind": "worst_loss", "origins": ["event"]}
ALL_NET = {"isolated": "account", "cross": "account", "portfolio": "account"}


def protocol(rules: Sequence[dict], collateral: Sequence[dict] = ()) -> Methodology:
    """Rules of a protocol; what is said of each rule and asset is completed."""
    standard = {
        "name": "rules",
        "version": "1",
        "effective": "2026-01-01",
        "title": "Rules of a test",
        "venue": "Nobody",
        "venue_number": False,
        "sources": ["made up for tests"],
        "not_verified": ["all of it"],
        "rules": [{"kind": "spot", "form": "weights", "source": "test"} | rule for rule in rules],
    }
    return Methodology.model_validate(
        DOCUMENT
        | {
            "netting": ALL_NET,
            "standard": standard,
            "measures": [REPORTED],
            "collateral": [{"source": "test"} | one for one in collateral],
        }
    )


def weights(initial: float, maintenance: float) -> dict[str, float]:
    return {"initial": initial, "maintenance": maintenance}


def spot_and_perpetual(coins: int) -> Instruments:
    """One spot and one perpetual instrument of each coin: rows 2k and 2k + 1."""
    return instruments_of(
        [
            {"kind": kind, "underlying": coin}
            for coin in range(coins)
            for kind in (Kind.SPOT, Kind.PERPETUAL)
        ]
    )


class ProtocolBook:
    """Rules on coins named c0, c1, ... at index prices, and on one asset a0, a1, ... of each."""

    def __init__(self, rules: Methodology, index: Sequence[float]) -> None:
        self.rules = rules
        self.index = np.array(index, dtype=np.float64)
        coins = len(index)
        self.instruments = spot_and_perpetual(coins)
        rows = 2 * coins
        market = MarketState(
            self.index,
            self.index[self.instruments.underlying],
            np.zeros(rows),
            np.ones(rows, dtype=np.bool_),
        )
        value = contract_value(self.instruments, market)
        names = [f"c{coin}" for coin in range(coins)]
        terms = standard_terms(self.instruments, market, value, rules.standard, underlyings=names)
        settlement = np.zeros(rows, dtype=np.int32)
        assets = [f"a{coin}" for coin in range(coins)]
        self.revaluation = Revaluation(
            cube=np.zeros((rows, 1)),
            weight=np.ones(1),
            value=value,
            settlement=settlement,
            priced=market.priced & (terms.form != Form.NONE),
            order=risk_order(self.instruments, settlement),
            standard=terms,
            collateral=collateral_weights(rules.collateral, assets, ["x"] * coins, self.index),
        )

    def holdings(self, spot: Any, perpetual: Any, asset: Any) -> Holdings:
        """Quantities ``(account, coin)`` of each; zeros are no positions."""
        spot, perpetual, asset = (
            np.atleast_2d(np.asarray(one, float)) for one in (spot, perpetual, asset)
        )
        accounts = len(spot)
        quantity = np.stack([spot, perpetual], axis=2).reshape(accounts, -1)
        owner, row = np.nonzero(quantity)
        keeper, held = np.nonzero(asset)
        return Holdings(
            offsets=np.searchsorted(owner, np.arange(accounts + 1)).astype(np.int64),
            instrument=row.astype(np.int32),
            quantity=quantity[owner, row],
            margin_mode=np.zeros(accounts, dtype=np.int8),
            collateral=asset @ self.index,
            held=np.zeros(accounts, dtype=np.bool_),
            assets=AssetHoldings(
                np.searchsorted(keeper, np.arange(accounts + 1)).astype(np.int64),
                held.astype(np.int32),
                asset[keeper, held],
            ),
        )

    def margin(
        self, spot: Any = 0.0, perpetual: Any = 0.0, asset: Any = 0.0, **options: Any
    ) -> AccountMargin:
        shape = np.broadcast_shapes(*(np.shape(one) for one in (spot, perpetual, asset)))
        shape = shape or (len(self.index),)
        one = self.holdings(*(np.broadcast_to(one, shape) for one in (spot, perpetual, asset)))
        return self.margin_of(one, **options)

    def margin_of(self, holdings: Holdings, **options: Any) -> AccountMargin:
        reported = (Measure("event_loss", "worst_loss", 0, 1, binds=False),)
        return margin_accounts(holdings, self.revaluation, self.rules, reported, **options)
