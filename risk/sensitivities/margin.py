"""Margin of whole books from the sensitivities of their instruments."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.positions import read_only
from risk.sensitivities.greeks import Sensitivities
from risk.sensitivities.kernel import UnitRows, accounts_margin, workspace
from risk.sensitivities.specification import RiskFactors

LAYERS = ("delta", "vega", "curvature")
"""The layers of the margin, each 0 or more; the requirement is their sum."""


def greeks_margin(
    offsets: NDArray[np.int64],
    instrument: NDArray[np.int32],
    quantity: NDArray[np.float64],
    sensitivities: Sensitivities,
    factors: RiskFactors,
) -> NDArray[np.float64]:
    """Return the margin of every account, ``(account, layer)``, reporting currency, 0 or more.

    Shapes ``(account+1,), (position,), (position,)``; the positions of account a are those from
    ``offsets[a]`` up to ``offsets[a+1]``, quantities in contracts, long positive. Netting sets
    may stand in for accounts. Layers are ``LAYERS``; risk measures do not offset each other, so
    the requirement is their plain sum.

    - delta: WS = weight net CR per underlying, CR = max(1, sqrt(|net| / threshold));
      K_b^2 = sum rho f WS WS with f = min(CR, CR') / max(CR, CR');
      sqrt(sum K_b^2 + sum gamma S_b S_c), S_b the sum of WS clipped to ±K_b; of a residual
      bucket the sum of |WS| on top;
    - vega: the same over underlyings and vertices, rho times the correlation of vertices, CR on
      the net over vertices;
    - curvature: CVR up and down; K_b the larger of the two
      sqrt(max(0, sum max(CVR, 0)^2 + sum rho^2 CVR CVR psi)), psi zero where both are negative;
      sqrt(max(0, sum K_b^2 + sum gamma^2 S_b S_c psi)), S_b the sum of CVR of that side; of a
      residual bucket the larger sum of max(CVR, 0) on top.

    The bits of an account depend on its own positions and their order alone.

    Source: ISDA SIMM methodology (delta, vega); Basel market risk standard MAR21.5 (curvature).

    Raises:
        ValueError: offsets that fall or do not end at the last position, an instrument that has
            no sensitivities, a quantity that is not finite, or an underlying without factors.
    """
    _check(offsets, instrument, quantity, sensitivities, factors)
    margin = np.zeros((len(offsets) - 1, len(LAYERS)))
    unit = UnitRows(*(_as_declared(getattr(sensitivities, name)) for name in UnitRows._fields))
    work = workspace(len(factors.bucket), len(factors.years), len(factors.within))
    accounts_margin(
        read_only(offsets, np.int64),
        read_only(instrument, np.int32),
        read_only(quantity, np.float64),
        unit,
        RiskFactors(*(_as_declared(array) for array in factors)),
        work,
        margin,
    )
    return margin


def _as_declared(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in the one type that the kernel is compiled for, of its kind of number."""
    kinds = {"i": np.int64, "u": np.int64, "b": np.bool_}
    return read_only(array, kinds.get(array.dtype.kind, np.float64))


def _check(
    offsets: NDArray[np.int64],
    instrument: NDArray[np.int32],
    quantity: NDArray[np.float64],
    sensitivities: Sensitivities,
    factors: RiskFactors,
) -> None:
    """Refuse positions that would read outside the arrays."""
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(instrument):
        raise ValueError(f"offsets must run from 0 to the {len(instrument)} positions")
    if (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets fall after account {int(np.argmax(np.diff(offsets) < 0))}")
    if quantity.shape != instrument.shape:
        raise ValueError(f"{len(quantity)} quantities for {len(instrument)} positions")
    if len(instrument) and not 0 <= instrument.min() <= instrument.max() < len(sensitivities):
        raise ValueError(
            f"instruments are {instrument.min()} to {instrument.max()}; sensitivities are known "
            f"of rows 0 to {len(sensitivities) - 1}"
        )
    if not np.isfinite(quantity).all():
        row = int(np.argmin(np.isfinite(quantity)))
        raise ValueError(f"quantity of position {row} is {quantity[row]}; allowed is a finite one")
    known = sensitivities.underlying
    if len(known) and not 0 <= known.min() <= known.max() < len(factors.bucket):
        raise ValueError(
            f"sensitivities are to underlyings {known.min()} to {known.max()}; factors are known "
            f"of rows 0 to {len(factors.bucket) - 1}"
        )


def requirement_of_legs(
    instrument: NDArray[np.int32], sensitivities: Sensitivities, factors: RiskFactors
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return what portfolios of the same legs require, ``(portfolio, leg) -> (portfolio,)``.

    The sum of the layers, in the form that ``risk.allocation`` asks for: Euler and incremental
    shares of a leg come from there.

    Raises:
        ValueError: when called, as ``greeks_margin``.
    """

    def requirement(quantity: NDArray[np.float64]) -> NDArray[np.float64]:
        portfolios, legs = quantity.shape
        offsets = np.arange(portfolios + 1) * legs
        held = np.tile(instrument, portfolios)
        margin = greeks_margin(offsets, held, quantity.ravel(), sensitivities, factors)
        return np.asarray(margin.sum(axis=1))

    return requirement
