"""Health and margin under the rules of on-chain protocols."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from risk.protocols import aave, drift, dydx, lending, mango
from workers.conformance.method import Inputs, Method, Numbers, Tables, table

NO_DEBT = -1.0
"""How Aave's own tools write an infinite health factor."""

SPOT_ORDERS = re.compile(r"serum_(\d+)_(\d+)")


def _aave_health_factor(inputs: Inputs, _: Tables) -> Numbers:
    covered = inputs["collateral"] * inputs["liquidation_threshold"]
    factor = float(lending.coverage(covered, inputs["debt"]))
    return {"health_factor": factor if np.isfinite(factor) else NO_DEBT}


def _aave_linear(inputs: Inputs, _: Tables) -> Numbers:
    return {"factor_ray": str(aave.linear_interest(inputs["rate_ray"], inputs["dt_seconds"]))}


def _aave_compounded(inputs: Inputs, _: Tables) -> Numbers:
    return {"factor_ray": str(aave.compounded_interest(inputs["rate_ray"], inputs["dt_seconds"]))}


def _dydx(inputs: Inputs, _: Tables) -> Numbers:
    interest, lower, upper = inputs.get("open_interest_lower_upper_caps") or (0, 0, 0)
    tier = dydx.LiquidityTier(
        inputs["initial_margin_ppm"], inputs["maintenance_fraction_ppm"], lower, upper
    )
    found = dydx.requirement(
        inputs["base_quantums"],
        inputs["atomic_resolution"],
        inputs["price"],
        inputs["price_exponent"],
        tier,
        interest,
    )
    return {"initial": found.initial, "maintenance": found.maintenance, "notional": found.notional}


def _mango(inputs: Inputs, tables: Tables) -> Numbers:
    weights = table(inputs, tables, "weights_ref")
    names = sorted(name for name in weights if name.startswith("token"))
    tokens = _mango_tokens(inputs, [weights[name] for name in names])
    balance = np.array([float(inputs.get(name, 0)) for name in names])
    market = weights["perp"]
    base, quote, bids, asks = inputs.get("perp", (0, 0, 0, 0))
    perpetual = mango.Perpetual(
        price=market["price"],
        base_asset_weight=market["init_base_asset"],
        base_liability_weight=market["init_base_liab"],
        overall_asset_weight=market["init_overall_asset"],
        settle_token=names.index(market["settle"]),
        base=base * market["base_lot"],
        quote=quote,
        bids=bids * market["base_lot"],
        asks=asks * market["base_lot"],
    )
    orders = list(_mango_orders(inputs, names))
    return {"init_health": float(mango.health(tokens, balance, [perpetual], orders))}


def _mango_tokens(inputs: Inputs, rows: list[dict[str, Any]]) -> mango.Tokens:
    def column(key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([float(row[key]) for row in rows])

    price, asset, liability = column("price"), column("init_asset"), column("init_liab")
    if "deposits" in inputs:
        start = inputs["deposit_scale_start_quote"]
        asset = mango.scaled_asset_weight(asset, price * inputs["deposits"], start)
    if "borrows" in inputs:
        start = inputs["borrow_scale_start_quote"]
        liability = mango.scaled_liability_weight(liability, price * inputs["borrows"], start)
    return mango.Tokens(price, asset, liability)


def _mango_orders(inputs: Inputs, names: list[str]) -> Iterator[mango.SpotOrders]:
    """Yield the spot orders: under serum_1_2 stand the reserved token1, the quote, and token2."""
    for key, reserved in inputs.items():
        if found := SPOT_ORDERS.fullmatch(key):
            quote, base = (names.index(f"token{number}") for number in found.groups())
            yield mango.SpotOrders(base, quote, reserved[1], reserved[0])


def _drift_size_weights(inputs: Inputs, _: Tables) -> Numbers:
    size, factor = inputs["size_units"], inputs["imf_factor"]
    found = {}
    if "init_asset_weight" in inputs:
        weight = inputs["init_asset_weight"]
        found["asset_weight"] = float(drift.size_asset_weight(weight, size, factor))
    if "init_liab_weight" in inputs:
        weight = inputs["init_liab_weight"]
        found["liab_weight"] = float(drift.size_liability_weight(weight, size, factor))
    return found


def _drift_scaled_asset_weight(inputs: Inputs, _: Tables) -> Numbers:
    value = inputs["deposits"] * inputs["price"]
    weight = drift.scaled_asset_weight(
        inputs["init_asset_weight"], value, inputs["scale_start_usd"]
    )
    return {"asset_weight": float(weight)}


def _drift_margin(inputs: Inputs, _: Tables) -> Numbers:
    """Compute initial or maintenance margin of USDC, SOL with its orders and a SOL perpetual.

    Weights stand under more than one name; the most specific one that the inputs hold counts.
    """
    kind = inputs.get("type", "initial")
    if kind not in ("initial", "maintenance"):
        raise ValueError(f"type is {kind!r}; allowed are 'initial' and 'maintenance'")
    initial = kind == "initial"
    short = "init" if initial else "maint"
    price = inputs.get("sol_price", inputs.get("price"))
    bids, asks = inputs.get("sol_bid_qty", 0.0), abs(inputs.get("sol_ask_qty", 0.0))
    spot = drift.Spot(
        balance=inputs.get("sol", inputs.get("sol_deposit", 0.0)) - inputs.get("sol_borrow", 0.0),
        price=drift.OraclePrice(price, inputs.get("sol_twap5")),
        asset_weight=_first(
            inputs, f"sol_asset_{short}", f"{short}_asset_weight", f"{short}_asset"
        ),
        liability_weight=_first(
            inputs, f"sol_liab_{short}", f"{short}_liab_weight", f"{short}_liab"
        ),
        bids=bids,
        asks=asks,
        open_orders=inputs.get("open_orders", int(bids > 0) + int(asks > 0)),
    )
    perpetual = drift.Perpetual(
        base=inputs.get("perp_long", 0.0) - inputs.get("perp_short", 0.0),
        price=price,
        margin_ratio=_first(inputs, "perp_im" if initial else "perp_mm"),
        pnl=inputs.get("perp_pnl", 0.0),
    )
    quote = drift.OraclePrice(inputs.get("usdc_price", 1.0), inputs.get("usdc_twap5"))
    found = drift.margin(
        drift.Spot(inputs.get("usdc", 0.0), quote),
        [spot],
        [perpetual],
        inputs.get("user_max_margin_ratio", 0.0) if initial else 0.0,
    )
    return {
        "total_collateral": float(found.total_collateral),
        "margin_requirement": float(found.margin_requirement),
    }


def _first(inputs: Inputs, *keys: str) -> float:
    """Return the first of some inputs that is there; a weight that nothing names is one."""
    return float(next((inputs[key] for key in keys if key in inputs), 1.0))


METHODS: dict[str, Method] = {
    "aave_health_factor": _aave_health_factor,
    "aave_linear_interest": _aave_linear,
    "aave_compounded_interest": _aave_compounded,
    "dydx_v4_margin": _dydx,
    "mango_v4_health": _mango,
    "drift_size_weights": _drift_size_weights,
    "drift_scaled_asset_weight": _drift_scaled_asset_weight,
    "drift_margin": _drift_margin,
    "drift_margin_strict_oracle": _drift_margin,
}
