"""One account of a run, ready to be margined again at other quantities and other prices.

Only the instruments that the account holds, and those asked for beside them, are looked at, so a
question about one account costs milliseconds however large the run is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from risk.collateral import AssetHoldings
from risk.instruments import Instruments, MarketState, unit_notional
from risk.margin import AccountMargin, Holdings, Revaluation, margin_accounts, measures_of
from risk.measures import Measure
from risk.methodology import Methodology
from risk.revaluation import VolatilityTenor, revalue
from risk.scan.scenarios import ScanAxis
from risk.scenarios.shocks import SHOCKS, Shocks, shocks_of
from storage.book import Book
from storage.runs import Run
from storage.tables import MARGIN_MODES
from workers.call_rows import require_maintenance
from workers.collateral import CountedAssets, counted_assets
from workers.inputs import book_of
from workers.methodologies import methodology_of
from workers.revaluation import axis_of, price_cube, revaluation_of, terms_and_market_of
from workers.shards import Shard
from workers.tasks import read_holdings

Floats = NDArray[np.float64]


class AccountHeld(ValueError):
    """The account is held back: its margin is not known, and so is nothing that follows from it."""


class MarginDiffers(ValueError):
    """A number that was computed again is not the one that the run stored."""


@dataclass(frozen=True)
class Rules:
    """What the accounts of a run share: the book, the rules, the scenarios and the prices."""

    run: Run
    book: Book
    methodology: Methodology
    scenarios: xr.Dataset
    measures: tuple[Measure, ...]
    table: pa.Table
    assets: pa.Table
    instruments: Instruments
    market: MarketState
    underlyings: tuple[str, ...]
    shocks: Shocks
    axis: ScanAxis | None


def rules_of(run: Run) -> Rules:
    """Read what is needed of a run to margin one of its accounts again.

    Raises:
        BookChanged: the book is not the one that the run used.
        RunTooOld: the run stores no maintenance requirement.
    """
    require_maintenance(run)
    book, methodology = book_of(run), methodology_of(run)
    scenarios = run.scenarios.load()
    run.instruments.load()
    instruments, market = terms_and_market_of(run, book)
    underlyings = tuple(str(coin) for coin in scenarios["underlying"].values)
    return Rules(
        run=run,
        book=book,
        methodology=methodology,
        scenarios=scenarios,
        measures=measures_of(methodology, scenarios["origin"].values.tolist()),
        table=book.instruments(),
        assets=book.assets(),
        instruments=instruments,
        market=market,
        underlyings=underlyings,
        shocks=shocks_of(scenarios),
        axis=axis_of(methodology, scenarios),
    )


@dataclass(frozen=True)
class AccountCase:
    """One account with the legs that are looked at, in the order of the instruments.

    Shapes are ``(leg,)``; ``lots`` and ``quantity`` are as held, zero where a leg is only asked
    for. ``coins`` ``(underlying,)`` are the units of each coin that the collateral counts for, and
    ``assets`` what it consists of.
    """

    rules: Rules
    account: str
    row: int
    mode: int
    legs: NDArray[np.int64]
    table: pa.Table
    instruments: Instruments
    market: MarketState
    lots: NDArray[np.int64]
    lot_size: Floats
    collateral: float
    coins: Floats
    assets: AssetHoldings | None
    revaluation: Revaluation

    @property
    def names(self) -> list[str]:
        """Names of the legs."""
        names: list[str] = self.table["instrument"].to_pylist()
        return names

    @property
    def margin_mode(self) -> str:
        """Isolated, cross or portfolio."""
        return MARGIN_MODES[self.mode]

    @property
    def quantity(self) -> Floats:
        """Contracts held, long positive."""
        return self.lots * self.lot_size

    @property
    def equity(self) -> float:
        """What collateral counts for, and the value of what is held."""
        return self.collateral + float(self.quantity @ self.revaluation.value)

    @property
    def notional(self) -> Floats:
        """Notional of one contract of each leg at index prices, USD."""
        return unit_notional(self.instruments, self.market.index)

    def margin(
        self,
        quantity: Floats,
        collateral: Floats | None = None,
        revaluation: Revaluation | None = None,
    ) -> AccountMargin:
        """Return the margin of portfolios of the legs, ``(portfolio, leg)``, each as an account.

        ``collateral`` ``(portfolio,)`` is what it counts for in equity, USD; that of the account
        unless given.
        """
        portfolio, leg = np.nonzero(quantity)
        count = np.bincount(portfolio, minlength=len(quantity))
        size = len(quantity)
        holdings = Holdings(
            offsets=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
            instrument=leg.astype(np.int32),
            quantity=quantity[portfolio, leg],
            margin_mode=np.full(size, self.mode, dtype=np.int8),
            collateral=np.full(size, self.collateral) if collateral is None else collateral,
            held=np.zeros(size, dtype=np.bool_),
            assets=self._assets(size),
        )
        rules = self.rules
        return margin_accounts(
            holdings, revaluation or self.revaluation, rules.methodology, rules.measures
        )

    def _assets(self, portfolios: int) -> AssetHoldings | None:
        """Return the assets of the account once for each portfolio."""
        if self.assets is None:
            return None
        number = len(self.assets.asset)
        return AssetHoldings(
            offsets=np.arange(portfolios + 1, dtype=np.int64) * number,
            asset=np.tile(self.assets.asset, portfolios),
            quantity=np.tile(self.assets.quantity, portfolios),
        )

    def requirement(self, quantity: Floats) -> Floats:
        """Return what portfolios require, ``(portfolio, leg) -> (portfolio,)``, USD."""
        return self.margin(quantity).requirement if len(quantity) else np.zeros(0)

    def moved(self, quantity: Floats, coin: int, move: float) -> tuple[float, float]:
        """Return equity and maintenance of one portfolio after one coin's price moved.

        ``move`` is a fraction above -1, ``quantity`` ``(leg,)``. The index, every forward on it
        and collateral in the coin move; other coins, volatilities of a strike and bases stay. The
        maintenance requirement is that of the moved market: every scenario is priced from there.
        """
        rules, state = self.rules, self.market
        of_coin = self.instruments.underlying == coin
        index = state.index.copy()
        index[coin] *= 1.0 + move
        market = replace(
            state,
            index=index,
            forward=np.where(of_coin, state.forward * (1.0 + move), state.forward),
        )
        cube = price_cube(self.instruments, market, rules.shocks, rules.methodology, rules.axis)
        there = _revaluation(rules, self.table, self.instruments, market, cube)
        margin = self.margin(quantity[None], revaluation=there)
        equity = (
            self.collateral
            + float(quantity @ (self.revaluation.value + self._gain(coin, move)))
            + float(self.coins[coin] * state.index[coin] * move)
        )
        return equity, float(margin.maintenance[0])

    def _gain(self, coin: int, move: float) -> Floats:
        """Return what one contract of each leg gains when one price moves, ``(leg,)``."""
        still = np.zeros((1, len(self.market.index)))
        price = still.copy()
        price[0, coin] = move
        shocks = Shocks(**{name: price if name == "price" else still for name in SHOCKS})
        # A floor on volatility belongs to scenarios; here nothing but the price moves.
        tenor = VolatilityTenor(minimum_volatility=0.0)
        return revalue(self.instruments, self.market, shocks, tenor)[:, 0]


def _revaluation(
    rules: Rules, table: pa.Table, instruments: Instruments, market: MarketState, cube: Floats
) -> Revaluation:
    """Return what margin needs to know of a few instruments in some market."""
    parts = (rules.underlyings, rules.methodology, rules.scenarios)
    return revaluation_of(table, rules.assets, instruments, market, *parts, cube)


def account_case(rules: Rules, account: str, beside: Sequence[int] = ()) -> AccountCase:
    """Open one account with its positions, and the instrument rows ``beside`` them.

    Raises:
        AccountHeld: the account is held back.
        AccountUnknown: the book has no account of that name.
        MarginDiffers: its margin is not the one that the run stored.
    """
    run, book = rules.run, rules.book
    row = book.account_row(account)
    if int(run.accounts["status"][row]):
        raise AccountHeld(
            f"account {account} is held back in run {run.run_id}; margincube explain {account} "
            "says why"
        )
    index = dict(zip(rules.underlyings, rules.market.index.tolist(), strict=True))
    assets = counted_assets(rules.assets, index, rules.methodology.collateral)
    lot_size = rules.table["lot_size"].to_numpy()
    holdings = read_holdings(book, Shard(0, row, row + 1), lot_size, assets.value, assets.priced)
    legs = np.union1d(holdings.instrument, np.asarray(beside, dtype=np.int64)).astype(np.int64)
    lots = np.zeros(len(legs), dtype=np.int64)
    held = np.searchsorted(legs, holdings.instrument)
    lots[held] = book.position_slice(row, row + 1).lots
    table, instruments = rules.table.take(legs), rules.instruments.take(legs)
    market = replace(
        rules.market,
        **{name: getattr(rules.market, name)[legs] for name in ("forward", "volatility", "priced")},
    )
    cube = run.cube["pnl"].isel(instrument=legs).values
    case = AccountCase(
        rules=rules,
        account=account,
        row=row,
        mode=int(holdings.margin_mode[0]),
        legs=legs,
        table=table,
        instruments=instruments,
        market=market,
        lots=lots,
        lot_size=lot_size[legs],
        collateral=float(holdings.collateral[0]),
        coins=_coins(rules, row, assets),
        assets=holdings.assets,
        revaluation=_revaluation(rules, table, instruments, market, cube),
    )
    _check_stored(case)
    return case


def _coins(rules: Rules, row: int, assets: CountedAssets) -> Floats:
    """Return units of each coin that an account's collateral counts for, ``(underlying,)``."""
    held = rules.book.collateral_slice(row, row + 1)
    coin, unit = assets.coins(rules.underlyings), assets.value
    moves = coin[held.asset] >= 0
    value = (held.quantity * unit[held.asset])[moves]
    total = np.bincount(
        coin[held.asset][moves], weights=value, minlength=len(rules.underlyings)
    ).astype(np.float64)
    return total / rules.market.index


def _check_stored(case: AccountCase) -> None:
    """Refuse to go on from a margin that is not the stored one."""
    stored = case.rules.run.accounts.isel(account=case.row)
    found = case.margin(case.quantity[None])
    for name in ("equity", "requirement", "maintenance"):
        was, now = float(stored[name]), float(getattr(found, name)[0])
        if was != now:
            raise MarginDiffers(
                f"account {case.account}: {name} is {now!r} when computed again and {was!r} as "
                f"stored in {case.rules.run.run_id}; run the book again with this version"
            )
