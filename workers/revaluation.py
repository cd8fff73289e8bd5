"""What margin needs to know of each instrument: the cube, values, charges and the scan's tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from risk.charges import charges_on
from risk.instruments import Instruments, MarketState
from risk.margin import Revaluation
from risk.methodology import Methodology
from risk.nesting import risk_order
from risk.revaluation import contract_value, revalue
from risk.scan.prepared import prepare_scan
from risk.scan.scenarios import ScanAxis, revalue_scan, scan_axis
from risk.scenarios.shocks import Shocks, shocks_of
from risk.sensitivities.greeks import unit_sensitivities
from risk.sensitivities.specification import risk_factors
from risk.standard.kernel import Form
from risk.standard.terms import standard_terms
from risk.wrong_way import credit_moves
from storage.book import Book
from storage.runs import Run
from workers.collateral import counted_assets
from workers.terms import instrument_terms


def axis_of(methodology: Methodology, scenarios: xr.Dataset) -> ScanAxis | None:
    """Return what the scenarios of a run are to the scan of its methodology, if it has one."""
    if methodology.scan is None:
        return None
    return scan_axis(
        methodology.scan,
        scenarios["underlying"].values.tolist(),
        scenarios["origin"].values.tolist(),
        scenarios["scenario"].values.tolist(),
    )


def price_cube(
    instruments: Instruments,
    market: MarketState,
    shocks: Shocks,
    methodology: Methodology,
    axis: ScanAxis | None,
) -> NDArray[np.float64]:
    """Return what one contract gains in every scenario, ``(instrument, scenario)``, in USD."""
    tenor = methodology.volatility_tenor.tenor()
    if axis is None:
        return revalue(instruments, market, shocks, tenor)
    return revalue_scan(instruments, market, shocks, tenor, axis)


def revaluation_of(
    table: pa.Table,
    assets: pa.Table,
    instruments: Instruments,
    market: MarketState,
    underlyings: Sequence[str],
    methodology: Methodology,
    scenarios: xr.Dataset,
    cube: NDArray[np.float64],
) -> Revaluation:
    """Return the cube with what margin needs to know of the book's instruments and assets."""
    currency = table["settlement_currency"].to_numpy(zero_copy_only=False)
    settlement = np.unique(currency, return_inverse=True)[1].astype(np.int32)
    value = contract_value(instruments, market)
    axis, weight = axis_of(methodology, scenarios), scenarios["weight"].values
    scan = None
    if axis is not None:
        scan = prepare_scan(axis, instruments, market, value, weight, shocks_of(scenarios))
    legs = _by_leg(instruments, market, value, underlyings, methodology)
    priced = market.priced
    if "standard" in legs:
        # An instrument that no rule margins holds its accounts back, as one without a price.
        priced = priced & (legs["standard"].form != Form.NONE)
    index = dict(zip(underlyings, market.index.tolist(), strict=True))
    counted = counted_assets(assets, index, methodology.collateral)
    moves = None
    if methodology.wrong_way is not None:
        coins = counted.coins(underlyings)
        moves = credit_moves(counted.credit, coins, shocks_of(scenarios).price)
    return Revaluation(
        cube=cube,
        weight=weight,
        value=value,
        settlement=settlement,
        priced=priced,
        order=risk_order(instruments, settlement),
        charges=charges_on(methodology.charges, instruments, market, underlyings),
        scan=scan,
        collateral=counted.weights,
        credit_moves=moves,
        **legs,
    )


def _by_leg(
    instruments: Instruments,
    market: MarketState,
    value: NDArray[np.float64],
    underlyings: Sequence[str],
    methodology: Methodology,
) -> dict[str, Any]:
    """Return what rules by leg, or Greeks, need to know of each instrument."""
    if methodology.standard is not None:
        rules = methodology.standard
        return {
            "standard": standard_terms(instruments, market, value, rules, underlyings=underlyings)
        }
    if methodology.sensitivities is not None:
        factors = risk_factors(methodology.sensitivities, underlyings)
        return {
            "sensitivities": unit_sensitivities(instruments, market, factors),
            "factors": factors,
        }
    return {}


def terms_and_market_of(run: Run, book: Book) -> tuple[Instruments, MarketState]:
    """Return the terms of a published run's instruments, and the market that priced them."""
    index = run.manifest["index"]
    underlyings = run.scenarios["underlying"].values.tolist()
    stored = run.instruments
    market = MarketState(
        index=np.array([index[name] for name in underlyings]),
        forward=stored["forward"].values,
        volatility=stored["volatility"].values,
        priced=stored["priced"].values.astype(np.bool_),
    )
    return instrument_terms(book.instruments(), underlyings, book.as_of), market


def revaluation_of_run(run: Run, book: Book, methodology: Methodology) -> Revaluation:
    """Return what a published run margined with, from what it stored."""
    instruments, market = terms_and_market_of(run, book)
    return revaluation_of(
        book.instruments(),
        book.assets(),
        instruments,
        market,
        run.scenarios["underlying"].values.tolist(),
        methodology,
        run.scenarios,
        run.cube["pnl"].values,
    )
