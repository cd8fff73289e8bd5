"""Quantiles of a quadratic portfolio of normal risk factors.

The P&L is δ'x + x'Γx/2 with x normal, mean zero and covariance Σ. In the coordinates in which
Σ is the identity and Γ is diagonal it is a sum of independent terms b z + λ z²/2, so that its
cumulants are κ₁ = Σ λ/2 and κᵣ = Σ ((r-1)! λʳ + r! b² λʳ⁻²)/2.

Sources: E. Cornish and R. Fisher (1938); R. Lugannani and S. Rice (1980); J. Imhof, "Computing the
distribution of quadratic forms in normal variables" (1961), after J. Gil-Pelaez (1951).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_NEGLIGIBLE = 1e-14
_WORST_ERROR = 1e-6
# The double exponential rule on the half line: equal steps of t, r = exp(π sinh(t)/2).
_STEP = 1.0 / 64.0
_T = np.arange(-4.0, 4.0, _STEP)
_RADII = np.exp(0.5 * math.pi * np.sinh(_T))
_WEIGHTS = _STEP * 0.5 * math.pi * np.cosh(_T) * _RADII
_DIRECTIONS = np.exp(1j * np.pi * np.array([60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0]) / 180.0)
_NEAR_MEAN = 1e-3


@dataclass(frozen=True, slots=True)
class Quadratic:
    """The independent terms b z + λ z²/2 of a portfolio: ``linear`` b and ``curvature`` λ.

    Shapes ``(factor,)``, both in P&L; gains are positive.
    """

    linear: Array
    curvature: Array

    def cumulant(self, order: int) -> float:
        """Return the cumulant of the P&L of an order of 1 or more."""
        if order == 1:
            return float(self.curvature.sum() / 2.0)
        own = math.factorial(order - 1) * self.curvature**order
        powers = own + math.factorial(order) * self.linear**2 * self.curvature ** (order - 2)
        return float(powers.sum() / 2.0)

    def transform(self, s: ArrayLike) -> Complex:
        """Return ln E exp(s P&L), (...) -> (...); analytic off the real axis and near zero."""
        points = np.asarray(s, np.complex128)[..., None]
        pole = 1.0 - points * self.curvature
        terms = points * points * self.linear**2 / pole - np.log(pole)
        return np.asarray(0.5 * terms.sum(axis=-1))


def quadratic(delta: ArrayLike, gamma: ArrayLike, covariance: ArrayLike) -> Quadratic:
    """Return the independent terms of a portfolio: (factor,), (factor, factor) twice.

    Raises:
        ValueError: shapes disagree, a matrix is not symmetric, or the covariance has a negative
            eigenvalue beyond rounding.

    >>> quadratic([0.0], [[1.0]], [[1e6]]).curvature.tolist()
    [1000000.0]
    """
    slope, curve, spread = (np.asarray(one, np.float64) for one in (delta, gamma, covariance))
    size = len(slope)
    for name, matrix in (("gamma", curve), ("covariance", spread)):
        if matrix.shape != (size, size) or not np.isfinite(matrix).all():
            raise ValueError(f"{name} has shape {matrix.shape}; must be finite, ({size}, {size})")
        if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=0.0):
            raise ValueError(f"{name} is not symmetric")
    variances, directions = np.linalg.eigh(spread)
    if size and variances.min() < -1e-9 * max(variances.max(), 0.0):
        raise ValueError(f"covariance has the negative eigenvalue {variances.min():.3g}")
    root = directions * np.sqrt(np.maximum(variances, 0.0))
    curvature, rotation = np.linalg.eigh(root.T @ curve @ root)
    return Quadratic(rotation.T @ (root.T @ slope), curvature)


def cornish_fisher_quantile(portfolio: Quadratic, probability: float) -> float:
    """Return the P&L quantile from mean, variance, skewness and excess kurtosis.

    q = κ₁ + √κ₂ (z + (z²-1) S/6 + (z³-3z) K/24 - (2z³-5z) S²/36). Cheap, and wrong by far where
    curvature dominates: see ``exact_quantile``.

    Raises:
        ValueError: the probability is not between 0 and 1.

    >>> round(cornish_fisher_quantile(quadratic([2.0], [[0.0]], [[1.0]]), 0.99), 6)
    4.652696
    """
    z = float(ndtri(_checked(probability)))
    mean, variance = portfolio.cumulant(1), portfolio.cumulant(2)
    if variance == 0.0:
        return mean
    skewness = portfolio.cumulant(3) / variance**1.5
    kurtosis = portfolio.cumulant(4) / variance**2
    corrected = (
        z
        + (z * z - 1.0) * skewness / 6.0
        + (z**3 - 3.0 * z) * kurtosis / 24.0
        - (2.0 * z**3 - 5.0 * z) * skewness**2 / 36.0
    )
    return float(mean + math.sqrt(variance) * corrected)


def exact_quantile(portfolio: Quadratic, probability: float) -> float:
    """Return the P&L quantile from the distribution itself.

    Error: some 1e-7 of the deviation, where the distribution has no atom.

    Raises:
        ValueError: the probability is not between 0 and 1.

    >>> round(exact_quantile(quadratic([0.0], [[1.0]], [[1e6]]), 0.99), 0)
    3317448.0
    """
    level = _checked(probability)
    mean, deviation = portfolio.cumulant(1), math.sqrt(portfolio.cumulant(2))
    if deviation == 0.0:
        return mean
    scaled = Quadratic(portfolio.linear / deviation, portfolio.curvature / deviation)
    low, high = -1.0, 1.0
    while _distribution(scaled, low) > level:
        low *= 2.0
    while _distribution(scaled, high) < level:
        high *= 2.0
    root = brentq(lambda x: _distribution(scaled, x) - level, low, high, xtol=1e-9)
    return float(deviation * root)


def value_at_risk(portfolio: Quadratic, level: float) -> float:
    """Return the loss that is not exceeded with probability ``level``, positive for a loss.

    >>> round(value_at_risk(quadratic([2.0], [[0.0]], [[1.0]]), 0.99), 6)
    4.652696
    """
    return -exact_quantile(portfolio, 1.0 - level)


def saddlepoint_tail(portfolio: Quadratic, x: float) -> float:
    """Return P(P&L > x) roughly, by the formula of Lugannani and Rice: cheap, one root and no sum.

    Where x is the mean the formula has no value, and the normal tail with its correction for
    skewness stands in.

    Raises:
        ValueError: the P&L is certain.

    >>> round(saddlepoint_tail(quadratic([2.0], [[0.0]], [[1.0]]), 4.652696), 6)
    0.01
    """
    mean, deviation = portfolio.cumulant(1), math.sqrt(portfolio.cumulant(2))
    if deviation == 0.0:
        raise ValueError("the P&L is certain; it has no tail")
    scaled = Quadratic(portfolio.linear / deviation, portfolio.curvature / deviation)
    target = x / deviation
    if abs(x - mean) < _NEAR_MEAN * deviation:
        skewness = scaled.cumulant(3)
        return float(ndtr((mean - x) / deviation) - skewness / (6.0 * math.sqrt(2.0 * math.pi)))
    s = _saddlepoint(scaled, target)
    root = math.copysign(
        math.sqrt(max(0.0, 2.0 * (s * target - float(scaled.transform(s).real)))), s
    )
    scale = s * math.sqrt(_curvature_at(scaled, s))
    density = math.exp(-0.5 * root * root) / math.sqrt(2.0 * math.pi)
    return float(ndtr(-root) + density * (1.0 / scale - 1.0 / root))


def _slope_at(portfolio: Quadratic, s: float) -> float:
    """Return the derivative of the logarithm of the moment generating function."""
    b, curvature = portfolio.linear, portfolio.curvature
    pole = 1.0 - s * curvature
    return float((s * b**2 * (1.0 - 0.5 * s * curvature) / pole**2 + 0.5 * curvature / pole).sum())


def _curvature_at(portfolio: Quadratic, s: float) -> float:
    """Return the second derivative of the logarithm of the moment generating function."""
    b, curvature = portfolio.linear, portfolio.curvature
    pole = 1.0 - s * curvature
    return float((b**2 / pole**3 + 0.5 * (curvature / pole) ** 2).sum())


def _strip(portfolio: Quadratic) -> tuple[float, float]:
    """Return the interval around zero on which the moment generating function is finite."""
    most, least = float(portfolio.curvature.max()), float(portfolio.curvature.min())
    right = 1.0 / most if most > _NEGLIGIBLE else math.inf
    left = 1.0 / least if least < -_NEGLIGIBLE else -math.inf
    return left, right


def _saddlepoint(portfolio: Quadratic, x: float) -> float:
    """Return the s at which the slope is x; of a portfolio of deviation 1."""
    left, right = _strip(portfolio)
    step = 1.0
    if x > portfolio.cumulant(1):
        while _slope_at(portfolio, upper := min(step, right * (1.0 - 1.0 / (1.0 + step)))) < x:
            step *= 2.0
        lower = 0.0
    else:
        while _slope_at(portfolio, lower := max(-step, left * (1.0 - 1.0 / (1.0 + step)))) > x:
            step *= 2.0
        upper = 0.0
    return float(brentq(lambda s: _slope_at(portfolio, s) - x, lower, upper))


def _distribution(portfolio: Quadratic, x: float) -> float:
    """Return P(P&L <= x) of a portfolio of deviation 1, by inverting its transform.

    P(P&L > x) is the integral of exp(K(s) - s x)/s over a vertical line right of zero, divided
    by 2πi; left of zero it is that less one. K has its singularities on the real axis only, so
    the line may be bent into two rays; of a few angles the one is taken at which the rule
    converges. A ray on which the integrand grows overflows, and is not taken.
    """
    left, right = _strip(portfolio)
    start = 0.5 * min(1.0, right) if x >= 0.0 else 0.5 * max(-1.0, left)
    s = start + _RADII * _DIRECTIONS[:, None]
    with np.errstate(all="ignore"):
        values = np.exp(portfolio.transform(s) - s * x) / s * _DIRECTIONS[:, None]
        terms = values.imag * _WEIGHTS
        tails = terms.sum(axis=1)
        errors = np.abs(tails - 2.0 * terms[:, ::2].sum(axis=1))
    best = int(np.argmin(np.where(np.isfinite(errors), errors, np.inf)))
    if not errors[best] <= _WORST_ERROR:
        raise ArithmeticError(f"the distribution at {x:.6g} deviations did not converge")
    tail = float(tails[best])
    exceeded = tail / math.pi
    return 1.0 - exceeded if start > 0.0 else -exceeded


def _checked(probability: float) -> float:
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability is {probability}; allowed is between 0 and 1")
    return probability
