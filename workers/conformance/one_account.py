"""One account of a vector through the engine that margins books."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.charges import charges_on
from risk.instruments import Instruments, MarketState
from risk.margin import AccountMargin, Holdings, Revaluation, margin_accounts
from risk.methodology import Methodology
from risk.nesting import nest, risk_order
from risk.netting import NETTING_KEYS
from risk.revaluation import contract_value
from risk.scan.explanation import ScannedUnit, scan_units
from risk.scan.prepared import prepare_scan
from risk.scan.scenarios import ScanAxis, revalue_scan, scan_axis, scan_scenarios
from risk.scenarios.shocks import shocks_of

PORTFOLIO = 2
"""The margin mode of an account in which everything nets."""


@dataclass(frozen=True, slots=True)
class OneAccount:
    """One account; all ``(instrument,)`` but ``market``, ``cash`` and ``underlyings``."""

    underlyings: tuple[str, ...]
    instruments: Instruments
    market: MarketState
    currency: NDArray[np.int32]
    quantity: NDArray[np.float64]
    rate: NDArray[np.float64]
    discount_factor: NDArray[np.float64]
    spot_share: NDArray[np.float64]
    confidence: NDArray[np.float64]
    cash: float


@dataclass(frozen=True, slots=True)
class Margined:
    """What the engine found: the margin, and the units of the scan with every number kept."""

    margin: AccountMargin
    units: list[ScannedUnit]
    axis: ScanAxis
    cube: NDArray[np.float64]
    value: NDArray[np.float64]


def margin_one(account: OneAccount, rules: Methodology) -> Margined:
    """Margin one portfolio account by a scan.

    Raises:
        ValueError: the rules hold no scan, or the account's terms have no price.
    """
    if rules.scan is None:
        raise ValueError(f"methodology {rules.name!r} has no [scan]")
    parts = scan_scenarios(account.underlyings, rules.scan)
    scenarios = xr.concat(parts, dim="scenario", join="exact", combine_attrs="drop")
    axis = scan_axis(
        rules.scan,
        account.underlyings,
        scenarios["origin"].values.tolist(),
        scenarios["scenario"].values.tolist(),
    )
    shocks, weight = shocks_of(scenarios), scenarios["weight"].values
    terms, market, factor = account.instruments, account.market, account.discount_factor
    tenor = rules.volatility_tenor.tenor()
    cube = revalue_scan(terms, market, shocks, tenor, axis, account.spot_share)
    cube *= factor[:, np.newaxis]
    value = contract_value(terms, market) * factor
    scan = prepare_scan(axis, terms, market, value, weight, shocks, account.rate, factor)
    revaluation = Revaluation(
        cube=cube,
        weight=weight,
        value=value,
        settlement=account.currency,
        priced=market.priced,
        order=risk_order(terms, account.currency),
        charges=charges_on(rules.charges, terms, market, account.underlyings, account.confidence),
        scan=scan,
    )
    rows = np.arange(len(terms), dtype=np.int32)
    holdings = Holdings(
        offsets=np.array([0, len(terms)]),
        instrument=rows,
        quantity=account.quantity,
        margin_mode=np.array([PORTFOLIO], np.int8),
        collateral=np.array([account.cash]),
        held=np.zeros(1, np.bool_),
    )
    nested = nest(
        holdings.offsets,
        rows,
        np.array([NETTING_KEYS.index("account")], np.int8),
        revaluation.order,
        rules.scan,
    )
    return Margined(
        margin=margin_accounts(holdings, revaluation, rules, ()),
        units=scan_units(nested, rows, account.quantity, cube, scan.tables),
        axis=axis,
        cube=cube,
        value=value,
    )
