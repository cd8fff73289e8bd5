"""The cells of the revaluation cube, compiled: every contract over every scenario.

An option costs one exponential and one division per cell, no logarithm and no error function.
Write the upper tail of the normal distribution as Φ(-x) = exp(-x²/2) M(x), M a Mills ratio.
Since forward φ(d1) = strike φ(d2), Black-76 for a call is

    forward [d1 ≥ 0] - strike [d2 ≥ 0]
      - forward exp(-d1²/2) (sign(d1) M(|d1|) - sign(d2) M(|d2|))

and for a put the same with the brackets less one. M is a ratio of polynomials, fitted so that
exp(-x²/2) times its error is least, for that is the error that reaches the value. A value is
within 2e-14 times max(forward, strike) of the truth, whatever moneyness, volatility and time.

Every sum of a product is one ``_fma``, written out. Nothing is left for the compiler to contract
or to reorder, so a cell has the same bits in the vector loop, in its remainder and alone, however
scenarios and instruments are cut.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import float64, njit
from numba.extending import intrinsic

from risk.instruments import Kind, Settlement

# Fitted by infra/coefficients.py (Lawson's method in 60 digits): exp(-x²/2) M(x) within 5e-15.
_NUMERATOR_0 = 0.49999999999999506
_NUMERATOR_1 = 0.4395178813108079
_NUMERATOR_2 = 0.1944242133314889
_NUMERATOR_3 = 0.04880602684816309
_NUMERATOR_4 = 0.00689684845313835
_NUMERATOR_5 = 0.00043703849551936144
_DENOMINATOR_1 = 1.6769203234225487
_DENOMINATOR_2 = 1.226837262479124
_DENOMINATOR_3 = 0.5039879218650594
_DENOMINATOR_4 = 0.12349553056736395
_DENOMINATOR_5 = 0.017284042826435378
_DENOMINATOR_6 = 0.0010956077488234505
# The same for 2^x, x in [-1/2, 1/2]: relative error 2e-16.
_POWER_1 = 0.6931471805599497
_POWER_2 = 0.24022650695908768
_POWER_3 = 0.05550410866445883
_POWER_4 = 0.009618129108034616
_POWER_5 = 0.0013333558228561771
_POWER_6 = 0.00015403529961105093
_POWER_7 = 1.525265811640237e-05
_POWER_8 = 1.3215662846179074e-06
_POWER_9 = 1.0208537931588514e-07
_POWER_10 = 7.0372771910596155e-09

_HALF_LOG2_E = 0.7213475204444817
_LEAST_POWER = -1020.0  # of two: zero beside any price, and still a normal double
_ROUNDER = 6755399441055744.0  # 1.5 * 2^52: a sum with it has the integer in its low bits

LEAST_DEVIATION = 1e-20
"""Stands for a deviation of zero: beside it no value differs from intrinsic value, and no power
of |d| that the polynomials need overflows."""

_CHUNK = 512  # scenarios: five tables of them and a row fit the first-level cache

_PERPETUAL, _FUTURE = int(Kind.PERPETUAL), int(Kind.FUTURE)
_SPOT, _INVERSE, _QUANTO = int(Kind.SPOT), int(Settlement.INVERSE), int(Settlement.QUANTO)


_inlined = njit(error_model="numpy", inline="always")


def _compiled(function: Callable[..., None]) -> Any:
    """Compile once for all processes, or once for each where no folder may be written to."""
    try:
        return njit(error_model="numpy", nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(error_model="numpy", nogil=True)(function)


@intrinsic
def _fma(typing_context, x, y, z):  # type: ignore[no-untyped-def]  # typed by numba, as below
    """Return x y + z, rounded once."""

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.fma(*arguments)

    return float64(float64, float64, float64), emit


@intrinsic
def _scaled(typing_context, x, exponent):  # type: ignore[no-untyped-def]
    """Return x 2^n, n the integer in the low bits of ``exponent``; x and result are normal."""

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        integer = ir.IntType(64)
        x, exponent = (builder.bitcast(argument, integer) for argument in arguments)
        shifted = builder.shl(exponent, ir.Constant(integer, 52))
        return builder.bitcast(builder.add(x, shifted), ir.DoubleType())

    return float64(float64, float64), emit


@intrinsic
def _signed(typing_context, x, sign):  # type: ignore[no-untyped-def]
    """Return x >= 0 with the sign of ``sign``."""

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        integer = ir.IntType(64)
        x, sign = (builder.bitcast(argument, integer) for argument in arguments)
        sign = builder.and_(sign, ir.Constant(integer, -(2**63)))
        return builder.bitcast(builder.or_(x, sign), ir.DoubleType())

    return float64(float64, float64), emit


@_inlined
def _mills(x, square):  # type: ignore[no-untyped-def]
    """Return numerator and denominator of M(x), x >= 0, both positive."""
    p = _fma(_fma(_NUMERATOR_5, x, _NUMERATOR_4), square, _fma(_NUMERATOR_3, x, _NUMERATOR_2))
    q = _fma(_DENOMINATOR_6, square, _fma(_DENOMINATOR_5, x, _DENOMINATOR_4))
    q = _fma(q, square, _fma(_DENOMINATOR_3, x, _DENOMINATOR_2))
    p = _fma(p, square, _fma(_NUMERATOR_1, x, _NUMERATOR_0))
    return p, _fma(q, square, _fma(_DENOMINATOR_1, x, 1.0))


@_inlined
def _gaussian(square):  # type: ignore[no-untyped-def]
    """Return exp(-square/2)."""
    power = max(square * -_HALF_LOG2_E, _LEAST_POWER)
    rounded = power + _ROUNDER
    f = power - (rounded - _ROUNDER)
    f2 = f * f
    f4 = f2 * f2
    low = _fma(_fma(_POWER_3, f, _POWER_2), f2, _fma(_POWER_1, f, 1.0))
    middle = _fma(_fma(_POWER_7, f, _POWER_6), f2, _fma(_POWER_5, f, _POWER_4))
    high = _fma(_POWER_10, f2, _fma(_POWER_9, f, _POWER_8))
    return _scaled(_fma(_fma(high, f4, middle), f4, low), rounded)


@_inlined
def _option(forward, strike, log_moneyness, deviation, inverse_deviation, side):  # type: ignore[no-untyped-def]
    """Return the value of one option; ``side`` is 1/2 for a call and -1/2 for a put."""
    d1 = _fma(log_moneyness, inverse_deviation, 0.5 * deviation)
    d2 = d1 - deviation
    x1, x2 = abs(d1), abs(d2)
    square = x1 * x1
    p1, q1 = _mills(x1, square)
    p2, q2 = _mills(x2, x2 * x2)
    tails = _fma(_signed(p1, d1), q2, -(_signed(p2, d2) * q1)) / (q1 * q2)
    paid = _fma(strike, _signed(0.5, d2) + side, forward * _gaussian(square) * tails)
    return _fma(forward, _signed(0.5, d1) + side, -paid)


@_compiled
def revalue_options(  # type: ignore[no-untyped-def]
    cube,
    row,
    coin,
    years,
    forward,
    strike,
    log_moneyness,
    deviation,
    least,
    scale,
    side,
    paid_in_coin,
    price,
    volatility,
    forward_basis,
):
    """Fill the rows of options; consecutive ones on one coin and expiry share their tables.

    ``forward`` and ``strike`` are in the reporting currency per contract, ``deviation`` and
    ``least`` are volatilities times the root of time, ``side`` is 1/2 for a call and -1/2 for a
    put. A contract paid in coin is worth V S/F, and S/F moves as one over the basis. Shocks are
    (coin, scenario).
    """
    scenarios = cube.shape[1]
    size = max(1, min(scenarios, _CHUNK))
    growth, log_growth = np.empty(size), np.empty(size)
    factor, inverse_factor = np.empty(size), np.empty(size)
    carry, ones = np.empty(size), np.ones(size)
    first = 0
    while first < len(row):
        c, t = coin[first], years[first]
        last = first + 1
        while last < len(row) and coin[last] == c and years[last] == t:
            last += 1
        for start in range(0, scenarios, size):
            count = min(size, scenarios - start)
            for j in range(count):
                basis = 1.0 + forward_basis[c, start + j] * t
                growth[j] = (1.0 + price[c, start + j]) * basis
                log_growth[j] = math.log(growth[j])
                carry[j] = 1.0 / basis
                factor[j] = 1.0 + volatility[c, start + j] * scale[first]
                inverse_factor[j] = 1.0 / factor[j] if factor[j] > 0.0 else math.inf
            for i in range(first, last):
                _option_row(
                    cube[row[i], start : start + count],
                    growth,
                    log_growth,
                    factor,
                    inverse_factor,
                    carry if paid_in_coin[i] else ones,
                    forward[i],
                    strike[i],
                    log_moneyness[i],
                    deviation[i],
                    least[i],
                    side[i],
                )
        first = last


@_inlined
def _option_row(  # type: ignore[no-untyped-def]
    out,
    growth,
    log_growth,
    factor,
    inverse_factor,
    carry,
    forward,
    strike,
    log_moneyness,
    deviation,
    least,
    side,
):
    inverse, greatest = 1.0 / deviation, 1.0 / least
    before = _option(forward, strike, log_moneyness, deviation, inverse, side)
    for j in range(len(out)):
        value = _option(
            forward * growth[j],
            strike,
            log_moneyness + log_growth[j],
            max(least, deviation * factor[j]),
            min(greatest, inverse * inverse_factor[j]),
            side,
        )
        out[j] = _fma(value, carry[j], -before)


@_compiled
def revalue_delta_one(  # type: ignore[no-untyped-def]
    cube,
    row,
    kind,
    settlement,
    coin,
    payer,
    years,
    multiplier,
    forward,
    index,
    price,
    perpetual_basis,
    forward_basis,
):
    """Fill the rows of spot, futures and perpetuals; shocks are (coin, scenario)."""
    for i in range(len(row)):
        c, held = coin[i], multiplier[i]
        before = index[c] if kind[i] == _SPOT else forward[i]
        for j in range(cube.shape[1]):
            basis = 0.0
            if kind[i] == _PERPETUAL:
                basis = perpetual_basis[c, j]
            elif kind[i] == _FUTURE:
                basis = forward_basis[c, j] * years[i]
            after = before * ((1.0 + price[c, j]) * (1.0 + basis))
            gain = held * (after - before)
            if kind[i] != _SPOT and settlement[i] == _INVERSE:
                gain = gain / (before * after) * (index[c] * (1.0 + price[c, j]))
            elif kind[i] != _SPOT and settlement[i] == _QUANTO:
                gain = gain * (index[payer[i]] * (1.0 + price[payer[i], j]))
            cube[row[i], j] = gain
