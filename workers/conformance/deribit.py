"""Deribit's portfolio margin: one answer of its API, in coin, through the engine."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from risk.instruments import Instruments, Kind, MarketState, Settlement
from risk.methodology import Methodology
from workers.conformance.one_account import OneAccount, margin_one

Numbers = Mapping[str, Any]

EXTENDED_MOVES = (-0.66, -0.33, 0.50, 1.00, 2.00, 3.00, 4.00, 5.00)
YEAR_SECONDS = 365 * 86_400
SETTLEMENT_HOUR = 8
"""Hour of the day, UTC, at which contracts expire."""


def portfolio_margin(inputs: Numbers, _: Numbers) -> dict[str, Any]:
    """Return the answer's vectors of each position, and its margin, in coin."""
    index = _of_coin(inputs, "index_")
    found = margin_one(_account(inputs), _rules(inputs))
    margin = found.margin
    scan, roll = (float(layer) / index for layer in margin.margin[0])
    matrix = scan + roll
    cells = np.flatnonzero(found.axis.cell >= 0)
    moved = sorted(
        {found.axis.spec.cells[found.axis.cell[at]].price for at in cells} - {*EXTENDED_MOVES}
    )
    first = {
        move: next(at for at in cells if found.axis.spec.cells[found.axis.cell[at]].price == move)
        for move in moved
    }
    held = [*inputs["positions_base_ccy"].items()]
    vectors = [
        [base * inputs["mark"][name] * found.cube[row, first[move]] / index for move in moved]
        for row, (name, base) in enumerate(held)
    ]
    outside = inputs["mmp_margin"] + inputs["open_orders_margin"]
    return {
        **{_vector_name(name): vector for (name, _), vector in zip(held, vectors, strict=True)},
        "worst_case": scan,
        "roll_shock": roll,
        "delta_shock": _delta_shock(inputs),
        "risk_matrix_margin": matrix,
        "initial_margin": matrix + outside,
        "maintenance_margin": float(margin.maintenance[0]) / index,
    }


METHODS = {"deribit_pme": portfolio_margin}


def _vector_name(instrument: str) -> str:
    return "standard_perp" if instrument.endswith("PERPETUAL") else "standard_future"


def _of_coin(inputs: Numbers, name: str) -> float:
    """Return the number whose key begins with ``name`` and goes on with the coin.

    Raises:
        ValueError: there is not one such key.
    """
    found = [key for key in inputs if key.startswith(name)]
    if len(found) != 1:
        raise ValueError(f"inputs have {found or 'no key'} for {name}...; one is needed")
    return float(inputs[found[0]])


def _years(expiry: str, timestamp_ms: float) -> float:
    """Return the years to an expiry such as 28JUN24, zero for a perpetual."""
    if expiry == "PERPETUAL":
        return 0.0
    instant = datetime.strptime(expiry.title(), "%d%b%y").replace(hour=SETTLEMENT_HOUR, tzinfo=UTC)
    return max((instant.timestamp() - timestamp_ms / 1_000.0) / YEAR_SECONDS, 1e-9)


def _delta_shock(inputs: Numbers) -> float:
    """Return the delta shock, which is zero up to a threshold and not published beyond it."""
    delta = sum(inputs["positions_base_ccy"].values()) * _of_coin(inputs, "index_")
    threshold = inputs["delta_total_liq_shock_threshold"]
    if abs(delta) > threshold:
        raise ValueError(
            f"delta {delta:,.0f} USD is beyond {threshold:,.0f}; the slope of the delta shock "
            "is not published, so it cannot be computed"
        )
    return 0.0


def _account(inputs: Numbers) -> OneAccount:
    """Return inverse contracts of one dollar, as many as the positions in coin are worth."""
    names = list(inputs["positions_base_ccy"])
    number = len(names)
    marks = np.array([inputs["mark"][name] for name in names])
    expiries = [name.split("-", 1)[1] for name in names]
    perpetual = np.array([expiry == "PERPETUAL" for expiry in expiries])
    years = [_years(expiry, inputs["timestamp_ms"]) for expiry in expiries]
    one = np.ones(number)
    return OneAccount(
        underlyings=(names[0].split("-", 1)[0],),
        instruments=Instruments(
            kind=np.where(perpetual, Kind.PERPETUAL, Kind.FUTURE).astype(np.int8),
            settlement=np.full(number, Settlement.INVERSE, np.int8),
            underlying=np.zeros(number, np.int16),
            settlement_underlying=np.zeros(number, np.int16),
            multiplier=one,
            strike=np.zeros(number),
            is_call=np.zeros(number, np.bool_),
            time_to_expiry=np.array(years),
        ),
        market=MarketState(
            index=np.array([_of_coin(inputs, "index_")]),
            forward=marks,
            volatility=np.zeros(number),
            priced=np.ones(number, np.bool_),
        ),
        currency=np.zeros(number, np.int32),
        quantity=np.array([inputs["positions_base_ccy"][name] for name in names]) * marks,
        rate=np.zeros(number),
        discount_factor=one,
        spot_share=one,
        confidence=one,
        cash=0.0,
    )


def _rules(inputs: Numbers) -> Methodology:
    """Return the rules that the answer's parameters describe."""
    edge, buckets = inputs["price_range"], inputs["buckets_each_side"]
    moves = [edge * step / buckets for step in range(buckets, -buckets - 1, -1)]
    cells = [[move, state] for move in moves for state in ("up", "none", "down")]
    roll = {
        "layer": "roll",
        "kinds": ["future", "perpetual", "option"],
        "amount": "delta",
        "group": "expiry",
        "initial": 1.0,
        "maintenance": inputs["mm_factor"],
        "by_time": {
            "per_year": _of_coin(inputs, "annualised_move_risk_"),
            "least": _of_coin(inputs, "min_annualised_move_"),
        },
    }
    return Methodology.model_validate(
        {
            "name": "deribit-pme",
            "version": "vector",
            "effective": "2024-06-17",
            "title": "Parameters of one answer of the API",
            "sources": ["Deribit API reference, private/pme/simulate"],
            "netting": {},
            "volatility_tenor": {
                "reference_days": 30.0,
                "short_power": inputs["short_vega_power"],
                "long_power": inputs["long_vega_power"],
                "floor_days": 1.0,
                "minimum_volatility": 0.0,
            },
            "scan": {
                "unit": "underlying_settlement",
                "in_settlement_currency": True,
                "cells": cells + [[move, "up"] for move in EXTENDED_MOVES],
                "volatility_up": inputs["vol_range_up"],
                "volatility_down": inputs["vol_range_down"],
                "minimum_volatility_up": inputs["min_vol_for_shock_up"],
                "maintenance_factor": inputs["mm_factor"],
                "extended": {"price_range": edge, "dampener": inputs["extended_dampener"]},
            },
            "charges": [roll],
        }
    )
