"""What a sale costs and how far it moves the price, from its size against volume or depth.

The size of a move grows with the whole quantity that was sold, so that cutting a sale into slices
moves the price no less: a price depends on what was sold before, not on how. Moves are of log
prices, which keeps every price above zero. Quantities are signed: a sale is positive and lowers
the price, a purchase negative and raises it.

Sources: R. Almgren, C. Thum, E. Hauptmann, H. Li, "Direct estimation of equity market impact"
(2005), exponent 3/5 of temporary impact; J.-P. Bouchaud and others, "Trades, Quotes and Prices"
(2018), chapter 12, exponents from 0.4 to 0.7 with a coefficient of order one; A. Kyle (1985), the
linear law; R. Cifuentes, G. Ferrucci, H. Shin (2005), exponential prices.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from risk.specification import Positive, Specification

Floats = NDArray[np.float64]


class ImpactSpec(Specification):
    """A law of impact: (log) move = coefficient sigma (quantity / volume)^exponent.

    ``form`` is ``power`` against daily volume, with an exponent from 0.4 to 0.7 and sigma the
    daily volatility; or ``linear``, coefficient sigma quantity / volume, exponent 1. Where depth is
    known, ``linear`` takes it for volume with a sigma of 1: the quantity that moves log prices
    by the coefficient. ``source`` says where the coefficient is from.
    """

    form: Literal["power", "linear"] = "power"
    coefficient: Positive = 1.0
    exponent: Annotated[float, Field(ge=0.4, le=1.0)] = 0.5
    source: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _exponent_of_its_form(self) -> "ImpactSpec":
        if self.form == "power" and self.exponent > 0.7:
            raise ValueError(
                f"exponent is {self.exponent:g}; a power law has one from 0.4 to 0.7, and form "
                "'linear' one of 1"
            )
        if self.form == "linear" and "exponent" in self.model_fields_set and self.exponent != 1.0:
            raise ValueError(f"exponent is {self.exponent:g}; form 'linear' has one of 1")
        return self

    @property
    def power(self) -> float:
        """Return the exponent that is used."""
        return 1.0 if self.form == "linear" else self.exponent


def relative_impact(
    law: ImpactSpec,
    quantity: ArrayLike,
    volume: ArrayLike,
    volatility: ArrayLike,
    depth_factor: ArrayLike = 1.0,
) -> Floats:
    """Return the move of the log price, of the quantity's sign, (...) -> (...).

    Arguments are broadcast: ``quantity`` ``(instrument, scenario)``, ``volume`` and ``volatility``
    ``(instrument, 1)``, ``depth_factor`` ``(scenario,)``. Quantity and volume have one unit.
    ``volume`` is daily volume or depth on calm days; ``depth_factor``, above 0 and at most 1, is
    the part of it that is left under stress. As a part of notional this is also the cost of
    a sale every contract of which is filled at its last price.

    Raises:
        ValueError: an argument is not finite, a volume is not positive, a volatility negative, or
            a factor outside (0, 1].

    >>> law = ImpactSpec(source="square root, coefficient 1")
    >>> relative_impact(law, [0.01, 0.1, 1.0], 1.0, 0.04).round(6).tolist()
    [0.004, 0.012649, 0.04]
    """
    size, daily, sigma, left = (
        np.asarray(one, np.float64) for one in (quantity, volume, volatility, depth_factor)
    )
    _require("quantity", size, np.isfinite(size), "a finite number")
    _require("volume", daily, (daily > 0.0) & (daily < np.inf), "a finite number above 0")
    _require("volatility", sigma, (sigma >= 0.0) & (sigma < np.inf), "a finite number of 0 up")
    _require("depth_factor", left, (left > 0.0) & (left <= 1.0), "above 0 and at most 1")
    against = np.abs(size) / (daily * left)
    return np.asarray(np.sign(size) * law.coefficient * sigma * against**law.power)


def price_after(
    law: ImpactSpec,
    price: ArrayLike,
    sold: ArrayLike,
    volume: ArrayLike,
    volatility: ArrayLike,
    depth_factor: ArrayLike = 1.0,
) -> Floats:
    """Return the price once ``sold`` has been sold in all, (...) -> (...), never below zero.

    ``price`` is that before the first of these sales, ``sold`` their signed sum: give the
    running total for the price after each. Arguments are those of ``relative_impact``.

    Raises:
        ValueError: a price is negative or not finite, or an argument is refused.

    >>> law = ImpactSpec(form="linear", source="depth")
    >>> price_after(law, 100.0, [0.0, 1.0, 2.0], 10.0, 1.0).round(4).tolist()
    [100.0, 90.4837, 81.8731]
    """
    start = np.asarray(price, np.float64)
    _require("price", start, (start >= 0.0) & (start < np.inf), "a finite number of 0 up")
    moved = relative_impact(law, sold, volume, volatility, depth_factor)
    # A purchase beyond every market must not give an infinite price times a zero position.
    return np.asarray(np.minimum(start * np.exp(np.minimum(-moved, 700.0)), np.finfo(float).max))


def liquidation_cost(
    law: ImpactSpec,
    quantity: ArrayLike,
    price: ArrayLike,
    volume: ArrayLike,
    volatility: ArrayLike,
    depth_factor: ArrayLike = 1.0,
) -> Floats:
    """Return what closing a position costs against its mark, money of 0 up, (...) -> (...).

    ``quantity`` is what is sold (positive) or bought back (negative). Impact times notional, every
    contract at the last price; selling never costs more than what is sold is worth.

    Raises:
        ValueError: an argument is refused.

    >>> liquidation_cost(ImpactSpec(source="choice"), 10.0, 100.0, 1_000.0, 0.04).round(6).item()
    4.0
    """
    size, mark = np.asarray(quantity, np.float64), np.asarray(price, np.float64)
    part = np.abs(relative_impact(law, size, volume, volatility, depth_factor))
    return np.asarray(np.abs(size) * mark * np.where(size > 0.0, np.minimum(part, 1.0), part))


def _require(name: str, values: Floats, allowed: NDArray[np.bool_], words: str) -> None:
    if not np.all(allowed):
        seen = np.atleast_1d(values)[~np.atleast_1d(allowed)].flat[0]
        raise ValueError(f"{name} is {seen}; allowed is {words}")
