"""Delta, vega and curvature margin of one account after the other, compiled.

An account touches few underlyings. Their nets are gathered in arrays by underlying, the pairs of
those touched are walked, and the arrays are cleared for the next account. So an account's number
depends on its own positions alone, to the last bit.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled, kernel

Floats = NDArray[np.float64]


class UnitRows(NamedTuple):
    """The fields of ``Sensitivities`` that the kernel reads, ``(instrument,)``."""

    underlying: NDArray[np.int64]
    delta: Floats
    relative_vega: Floats
    vertex: NDArray[np.int64]
    upper_share: Floats
    curvature_up: Floats
    curvature_down: Floats


class Workspace(NamedTuple):
    """What is known of the account at hand; all zero between accounts."""

    seen: NDArray[np.bool_]  # (underlying,)
    touched: NDArray[np.int64]  # (underlying,), the first of them in use
    delta: Floats  # (underlying,)
    vega: Floats  # (underlying, vertex)
    up: Floats  # (underlying,)
    down: Floats  # (underlying,)
    factor: Floats  # (underlying,), concentration
    spread: Floats  # (underlying, vertex), correlation of vertices times weighted vega
    square: Floats  # (bucket,)
    total: Floats  # (bucket,)
    other_square: Floats  # (bucket,)
    other_total: Floats  # (bucket,)


def workspace(underlyings: int, vertices: int, buckets: int) -> Workspace:
    """Return a cleared workspace."""
    one, two = np.zeros(underlyings), np.zeros((underlyings, vertices))
    bucket = np.zeros(buckets)
    return Workspace(
        np.zeros(underlyings, dtype=np.bool_), np.zeros(underlyings, dtype=np.int64),
        one, two, one.copy(), one.copy(), one.copy(), two.copy(),
        bucket, bucket.copy(), bucket.copy(), bucket.copy(),
    )  # fmt: skip


@compiled
def _concentration(net: float, threshold: float) -> float:
    excess = abs(net) / threshold
    return float(np.sqrt(excess)) if excess > 1.0 else 1.0


@compiled
def _agreement(one: float, other: float) -> float:
    return one / other if one < other else other / one


@compiled
def _across(square: Floats, total: Floats, factors: Any) -> float:
    """Return sqrt(sum K^2 + sum gamma S S) plus what is residual, and clear the buckets.

    ``total`` holds the sum of weighted sensitivities, of their sizes in a residual bucket.
    """
    buckets = square.size
    residual, inside = 0.0, 0.0
    for b in range(buckets):
        if factors.residual[b]:
            residual += total[b]
            total[b] = 0.0
        else:
            margin = np.sqrt(square[b]) if square[b] > 0.0 else 0.0
            inside += margin * margin
            total[b] = min(max(total[b], -margin), margin)
            for c in range(b):
                inside += 2.0 * factors.between[b, c] * total[b] * total[c]
    for b in range(buckets):
        square[b], total[b] = 0.0, 0.0
    return float(residual + (np.sqrt(inside) if inside > 0.0 else 0.0))


@compiled
def _delta_margin(work: Any, count: int, factors: Any) -> float:
    for k in range(count):
        u = work.touched[k]
        work.factor[u] = _concentration(work.delta[u], factors.delta_threshold[u])
        work.delta[u] *= factors.delta_weight[u] * work.factor[u]
        b = factors.bucket[u]
        if factors.residual[b]:
            work.total[b] += abs(work.delta[u])
            continue
        work.total[b] += work.delta[u]
        work.square[b] += work.delta[u] * work.delta[u]
        for m in range(k):
            v = work.touched[m]
            if factors.bucket[v] == b:
                rho = factors.within[b] * _agreement(work.factor[u], work.factor[v])
                work.square[b] += 2.0 * rho * work.delta[u] * work.delta[v]
    return float(_across(work.square, work.total, factors))


@compiled
def _weigh_vega(work: Any, u: int, factors: Any) -> None:
    """Turn the vega of an underlying into weighted vega, and spread it over the vertices."""
    vertices = factors.years.size
    net = 0.0
    for t in range(vertices):
        net += work.vega[u, t]
    work.factor[u] = _concentration(net, factors.vega_threshold[u])
    for t in range(vertices):
        work.vega[u, t] *= factors.vega_weight[t] * work.factor[u]
    for t in range(vertices):
        mixed = 0.0
        for s in range(vertices):
            mixed += factors.tenor_correlation[t, s] * work.vega[u, s]
        work.spread[u, t] = mixed


@compiled
def _vega_margin(work: Any, count: int, factors: Any) -> float:
    vertices = factors.years.size
    for k in range(count):
        u = work.touched[k]
        _weigh_vega(work, u, factors)
        b = factors.bucket[u]
        if factors.residual[b]:
            for t in range(vertices):
                work.total[b] += abs(work.vega[u, t])
            continue
        for t in range(vertices):
            work.total[b] += work.vega[u, t]
            work.square[b] += work.vega[u, t] * work.spread[u, t]
        for m in range(k):
            v = work.touched[m]
            if factors.bucket[v] == b:
                crossed = 0.0
                for t in range(vertices):
                    crossed += work.vega[u, t] * work.spread[v, t]
                rho = factors.within[b] * _agreement(work.factor[u], work.factor[v])
                work.square[b] += 2.0 * rho * crossed
    return float(_across(work.square, work.total, factors))


@compiled
def _one_side(
    work: Any, loss: Floats, count: int, factors: Any, square: Floats, total: Floats
) -> None:
    """Sum CVR and its squares by bucket for a move one way; two gains never offset each other.

    In a residual bucket only losses are added up.
    """
    for k in range(count):
        u = work.touched[k]
        b = factors.bucket[u]
        if factors.residual[b]:
            total[b] += max(loss[u], 0.0)
            continue
        total[b] += loss[u]
        if loss[u] > 0.0:
            square[b] += loss[u] * loss[u]
        for m in range(k):
            v = work.touched[m]
            if factors.bucket[v] == b and (loss[u] > 0.0 or loss[v] > 0.0):
                rho = factors.within[b] * factors.within[b]
                square[b] += 2.0 * rho * loss[u] * loss[v]


@compiled
def _curvature_margin(work: Any, count: int, factors: Any) -> float:
    _one_side(work, work.up, count, factors, work.square, work.total)
    _one_side(work, work.down, count, factors, work.other_square, work.other_total)
    residual, inside = 0.0, 0.0
    for b in range(work.square.size):
        if factors.residual[b]:
            residual += max(work.total[b], work.other_total[b])
            work.total[b] = 0.0
        else:
            up, down = max(work.square[b], 0.0), max(work.other_square[b], 0.0)
            if down > up or (down == up and work.other_total[b] >= work.total[b]):
                up, work.total[b] = down, work.other_total[b]
            inside += up
            for c in range(b):
                if work.total[b] > 0.0 or work.total[c] > 0.0:
                    gamma = factors.between[b, c] * factors.between[b, c]
                    inside += 2.0 * gamma * work.total[b] * work.total[c]
    for b in range(work.square.size):
        work.square[b], work.total[b] = 0.0, 0.0
        work.other_square[b], work.other_total[b] = 0.0, 0.0
    return float(residual + (np.sqrt(inside) if inside > 0.0 else 0.0))


@kernel
def accounts_margin(
    offsets: Any, instrument: Any, quantity: Any, unit: Any, factors: Any, work: Any, margin: Any
) -> None:
    """Fill ``margin`` ``(account, 3)``: delta, vega and curvature of every account."""
    for account in range(offsets.size - 1):
        count, volatile = 0, False
        for p in range(offsets[account], offsets[account + 1]):
            i, held = instrument[p], quantity[p]
            u = unit.underlying[i]
            if not work.seen[u]:
                work.seen[u] = True
                work.touched[count] = u
                count += 1
            work.delta[u] += held * unit.delta[i]
            work.up[u] += held * unit.curvature_up[i]
            work.down[u] += held * unit.curvature_down[i]
            vega = held * unit.relative_vega[i]
            if vega != 0.0:
                volatile = True
                upper = vega * unit.upper_share[i]
                work.vega[u, unit.vertex[i]] += vega - upper
                work.vega[u, unit.vertex[i] + 1] += upper
        margin[account, 0] = _delta_margin(work, count, factors)
        margin[account, 1] = _vega_margin(work, count, factors) if volatile else 0.0
        margin[account, 2] = _curvature_margin(work, count, factors)
        for k in range(count):
            u = work.touched[k]
            work.seen[u] = False
            work.delta[u], work.up[u], work.down[u] = 0.0, 0.0, 0.0
            for t in range(factors.years.size):
                work.vega[u, t] = 0.0
