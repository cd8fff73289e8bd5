"""How weighted sensitivities become one margin: concentration, within a bucket, across buckets.

Source of the formulas: ISDA SIMM methodology, sections on delta, vega and curvature margin; the
same shape is the sensitivities-based method of the Basel market risk standard, MAR21.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_TAIL = 2.5758293035489004  # the normal quantile of 99.5 %


def concentration(net: ArrayLike, threshold: ArrayLike) -> Array:
    """Return the factor by which a net sensitivity beyond its threshold weighs more, 1 or above.

    max(1, sqrt(|net| / threshold)), shapes broadcast; both in the same unit.

    >>> concentration([100.0, -400.0], 100.0).tolist()
    [1.0, 2.0]
    """
    return np.maximum(1.0, np.sqrt(np.abs(net) / np.asarray(threshold, dtype=np.float64)))


def agreement(factor: Array) -> Array:
    """Return min(CR_k, CR_l) / max(CR_k, CR_l) of concentration factors, ``(k,) -> (k, k)``.

    It multiplies correlations, for what is concentrated hedges badly what is not.

    >>> agreement(np.array([1.0, 2.0])).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    return np.asarray(np.minimum.outer(factor, factor) / np.maximum.outer(factor, factor))


def within_bucket(weighted: Array, correlation: Array) -> float:
    """Return K = sqrt(sum over k, l of rho_kl WS_k WS_l), ``(k,), (k, k) ->`` currency, 0 or more.

    >>> within_bucket(np.array([3.0, 4.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    5.0
    """
    return math.sqrt(max(0.0, float(weighted @ correlation @ weighted)))


def across_buckets(margin: Array, total: Array, correlation: Array) -> float:
    """Return sqrt(sum of K_b^2 + sum over b != c of gamma_bc S_b S_c), currency, 0 or more.

    ``margin`` is K and ``total`` the sum of weighted sensitivities of each bucket, ``(b,)``; S is
    ``total`` clipped to [-K, K]. The diagonal of ``correlation`` ``(b, b)`` is not read.

    >>> gamma = np.full((2, 2), 0.5)
    >>> round(across_buckets(np.array([3.0, 4.0]), np.array([3.0, -9.0]), gamma), 6)
    3.605551
    """
    clipped = np.clip(total, -margin, margin)
    crossed = clipped @ correlation @ clipped - np.sum(np.diag(correlation) * clipped**2)
    return math.sqrt(max(0.0, float(np.sum(margin**2) + crossed)))


def curvature_margin(curvature: list[Array], margin: Array, correlation: Array) -> float:
    """Return max(0, sum of CVR + lambda(theta) K), currency, from CVR by bucket.

    ``curvature`` holds the CVR of each bucket, gain of convexity against us positive; ``margin``
    is K_b and ``correlation`` the squared one across buckets. theta = min(0, sum CVR / sum |CVR|)
    and lambda = (2.5758^2 - 1)(1 + theta) - theta.

    >>> curvature_margin([np.array([0.0])], np.zeros(1), np.eye(1))
    0.0
    """
    total = np.array([np.sum(values) for values in curvature])
    size = sum(float(np.sum(np.abs(values))) for values in curvature)
    if size == 0.0:
        return 0.0
    theta = min(0.0, float(total.sum()) / size)
    tail = (_TAIL**2 - 1.0) * (1.0 + theta) - theta
    return max(0.0, float(total.sum()) + tail * across_buckets(margin, total, correlation))
