"""Risk measures of one sample of P&L, with every convention a name that a run records.

The sample is ``(scenario,)``, gain positive; a measure is a loss, positive. A level is the decimal
that it is written as: 0.975 of 1,000 scenarios leaves exactly 25 of them in the tail, whatever
the binary rounding of ``1000 * (1 - 0.975)``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MeasureKind = Literal["worst_loss", "value_at_risk", "expected_shortfall"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure over the scenarios ``start:stop`` of a run's scenario axis.

    ``level`` and, for value at risk, ``convention`` say which quantile; a worst loss uses neither.
    With an ``age_decay`` scenarios, oldest first, count by age: each as that part of the next.
    A measure that ``binds`` can set the requirement, times its ``weight``; one that ``joins`` is
    added to the measure before it. The others are reported only.
    """

    name: str
    kind: MeasureKind
    start: int
    stop: int
    level: float = 0.0
    convention: str = "inverted_cdf"
    binds: bool = True
    age_decay: float | None = None
    weight: float = 1.0
    joins: bool = False


def _discontinuous(whole: int, part: Fraction, weight_at_whole: Fraction) -> tuple[int, Fraction]:
    return whole, weight_at_whole if part == 0 else Fraction(1)


def _inverted_cdf(n: int, q: Fraction) -> tuple[int, Fraction]:
    return _discontinuous(math.floor(n * q), n * q % 1, Fraction(0))


def _averaged_inverted_cdf(n: int, q: Fraction) -> tuple[int, Fraction]:
    return _discontinuous(math.floor(n * q), n * q % 1, Fraction(1, 2))


def _closest_observation(n: int, q: Fraction) -> tuple[int, Fraction]:
    position = n * q - Fraction(1, 2)
    whole = math.floor(position)
    return _discontinuous(whole, position % 1, Fraction(whole % 2))


def _interpolated(
    alpha: Fraction, beta: Fraction
) -> Callable[[int, Fraction], tuple[int, Fraction]]:
    """Interpolate at the position ``n q + alpha + q (1 - alpha - beta)``."""

    def position(n: int, q: Fraction) -> tuple[int, Fraction]:
        where = n * q + alpha + q * (1 - alpha - beta)
        return math.floor(where), where % 1

    return position


CONVENTIONS: dict[str, Callable[[int, Fraction], tuple[int, Fraction]]] = {
    "inverted_cdf": _inverted_cdf,
    "averaged_inverted_cdf": _averaged_inverted_cdf,
    "closest_observation": _closest_observation,
    "interpolated_inverted_cdf": _interpolated(Fraction(0), Fraction(1)),
    "hazen": _interpolated(Fraction(1, 2), Fraction(1, 2)),
    "weibull": _interpolated(Fraction(0), Fraction(0)),
    "linear": _interpolated(Fraction(1), Fraction(1)),
    "median_unbiased": _interpolated(Fraction(1, 3), Fraction(1, 3)),
    "normal_unbiased": _interpolated(Fraction(3, 8), Fraction(3, 8)),
}
"""The nine sample quantiles of Hyndman and Fan (1996), types 1 to 9 in order, by numpy's names.

Each returns the rank ``j`` (from 1, ascending) and the weight ``g`` of ``(1-g) x_j + g x_(j+1)``.
"""


def tail_mass(scenarios: int, level: float) -> Fraction:
    """Return ``n (1 - q)``, how many scenarios the tail beyond ``level`` holds.

    Raises:
        ValueError: LEVEL_RANGE where the level is no fraction between 0 and 1;
            TAIL_BEYOND_SAMPLE where the tail holds less than one scenario.

    >>> tail_mass(1000, 0.975), tail_mass(250, 0.99)
    (Fraction(25, 1), Fraction(5, 2))
    """
    mass = scenarios * _beyond(level)
    if mass < 1:
        needed = math.ceil(scenarios / mass) if scenarios else math.ceil(1 / (1 - level))
        raise ValueError(
            f"TAIL_BEYOND_SAMPLE: level {level:g} leaves {float(mass):g} of the {scenarios} "
            f"scenarios in the tail; use at least {needed} scenarios or a lower level"
        )
    return mass


def _beyond(level: float) -> Fraction:
    if not 0.0 < level < 1.0:
        hint = f"; did you mean {level / 100:g}?" if 1.0 < level < 100.0 else ""
        raise ValueError(f"LEVEL_RANGE: level {level:g} is not between 0 and 1{hint}")
    return 1 - Fraction(repr(float(level)))


def age_units(scenarios: int, decay: float) -> NDArray[np.int64]:
    """Return the weight by age of each scenario, oldest first, in whole units.

    Shape ``() -> (scenario,)``. The k-th newest of K has the probability
    ``decay^(k-1) (1-decay) / (1-decay^K)`` (Boudoukh, Richardson, Whitelaw 1998, "The best of
    both worlds"): its units over the sum of units. Units are whole so that probabilities sum to
    one and cumulate exactly in any order; the newest has as many, a power of two, as leave every
    sum below 2^53, so that a weight is off by 2^-43 of the newest with 1,500 scenarios.

    Raises:
        ValueError: the decay is not in (0, 1].

    >>> (age_units(100, 0.98)[-3:] / age_units(100, 0.98).sum()).round(4).tolist()
    [0.0221, 0.0226, 0.0231]
    """
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"DECAY_RANGE: decay {decay:g} is not in (0, 1]")
    newest = 2.0 ** (53 - scenarios.bit_length())
    weight = np.cumprod(np.concatenate([[newest], np.full(max(scenarios - 1, 0), decay)]))
    return np.asarray(np.rint(weight[:scenarios][::-1]), dtype=np.int64)


def aged_tail_mass(units: NDArray[np.int64], level: float) -> Fraction:
    """Return how many units the tail beyond ``level`` holds.

    Raises:
        ValueError: LEVEL_RANGE; or TAIL_BEYOND_SAMPLE where the tail holds less than one of the
            ``(sum units)^2 / sum units^2`` scenarios of equal weight that are worth as much
            (Kish 1965, effective sample size).

    >>> aged_tail_mass(np.array([4, 4, 4, 4]), 0.625)
    Fraction(6, 1)
    """
    total = int(units.sum())
    mass = total * _beyond(level)
    squares = sum(one * one for one in units.tolist())
    if mass * total < squares:
        raise ValueError(
            f"TAIL_BEYOND_SAMPLE: level {level:g} leaves {float(mass * total / squares):g} "
            f"scenarios in the tail, because {len(units)} weighted by age are worth "
            f"{total * total / squares:g}; use a decay nearer to 1 or a lower level"
        )
    return mass


def tail_by_age(
    pnl: NDArray[np.float64], level: float, decay: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Return the scenarios from the worst on, what part of the tail each is, and the quantile's.

    Shape ``(scenario,) -> (scenario,), (tail,), ()``: ``pnl[order[: len(part)]] @ part`` is minus
    the expected shortfall, and ``pnl[order[place]]`` minus the value at risk. Equals keep their
    order.

    Raises:
        ValueError: what ``age_units`` and ``aged_tail_mass`` raise.
    """
    units = age_units(len(pnl), decay)
    mass = aged_tail_mass(units, level)
    order = np.argsort(pnl, kind="stable")
    reached = np.cumsum(units[order])
    place = int(np.searchsorted(reached, math.floor(mass), side="right"))
    deep = int(np.searchsorted(reached, math.ceil(mass), side="left")) + 1
    part = units[order[:deep]].astype(np.float64)
    part[-1] = float(mass - int(reached[deep - 1]) + int(units[order[deep - 1]]))
    return order, part / float(mass), place


def quantile_position(scenarios: int, level: float, convention: str) -> tuple[int, float]:
    """Return the rank ``j`` and weight ``g`` of the quantile ``(1-g) x_j + g x_(j+1)``.

    ``x`` is the sample in ascending order, ranks from 1. A position before the first observation
    is the first observation.

    Raises:
        ValueError: the convention has no such name, or ``tail_mass`` raises.

    >>> quantile_position(123, 0.95, "inverted_cdf"), quantile_position(123, 0.95, "hazen")
    ((117, 0.0), (117, 0.35))
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"unknown quantile convention {convention!r}; use one of {[*CONVENTIONS]}")
    tail_mass(scenarios, level)
    rank, weight = CONVENTIONS[convention](scenarios, Fraction(repr(float(level))))
    if weight == 1:
        rank, weight = rank + 1, Fraction(0)
    if rank < 1:
        rank, weight = 1, Fraction(0)
    return rank, float(weight)


def value_at_risk(
    pnl: NDArray[np.float64],
    level: float,
    convention: str = "inverted_cdf",
    age_decay: float | None = None,
) -> float:
    """Return the loss that a fraction ``level`` of the scenarios does not exceed.

    Shape ``(scenario,) -> ()``, in the unit of the P&L, a loss positive; negative where even the
    quantile is a gain. The default convention takes the order statistic ``ceil(n q)`` of the
    losses and never interpolates.

    With an ``age_decay`` it is the first loss, from the worst, at which the weights by age come to
    more than ``1 - level``: the inverted cdf of the weighted sample, and the only convention.

    Raises:
        ValueError: LEVEL_RANGE, TAIL_BEYOND_SAMPLE, or an unknown convention.

    >>> value_at_risk(np.arange(-5.0, 5.0), 0.8)
    3.0
    """
    if age_decay is not None:
        require_inverted_cdf(convention)
        order, _, place = tail_by_age(pnl, level, age_decay)
        return float(0.0 - pnl[order[place]])
    rank, weight = quantile_position(len(pnl), level, convention)
    loss = 0.0 - np.sort(pnl)[::-1]
    if weight == 0.0:
        return float(loss[rank - 1])
    return float((1.0 - weight) * loss[rank - 1] + weight * loss[rank])


def require_inverted_cdf(convention: str) -> None:
    """Refuse a convention that says nothing of weighted scenarios.

    Raises:
        ValueError: the convention is not the inverted cdf.
    """
    if convention != "inverted_cdf":
        raise ValueError(
            f"quantile convention {convention!r} is of equal weights; with age_decay use "
            "'inverted_cdf'"
        )


def expected_shortfall(
    pnl: NDArray[np.float64], level: float, age_decay: float | None = None
) -> float:
    """Return the average loss in the tail beyond ``level``.

    Shape ``(scenario,) -> ()``, in the unit of the P&L, a loss positive. The estimator of Acerbi
    and Tasche (2002): the tail holds ``m = n (1 - q)`` scenarios, the last of them in part, so it
    is the integral of the inverted-cdf quantile and coherent on discrete samples. With an
    ``age_decay`` the tail holds scenarios by weight, oldest first, and the last is split by it.

    Raises:
        ValueError: LEVEL_RANGE or TAIL_BEYOND_SAMPLE.

    >>> expected_shortfall(np.array([-4.0, -2.0, 1.0, 1.0]), 0.5)
    3.0
    """
    if age_decay is not None:
        order, share, _ = tail_by_age(pnl, level, age_decay)
        return float(0.0 - share @ pnl[order[: len(share)]])
    mass = tail_mass(len(pnl), level)
    whole = math.floor(mass)
    loss = 0.0 - np.sort(pnl)
    part = float(mass - whole) * loss[whole] if mass > whole else 0.0
    return float((loss[:whole].sum() + part) / float(mass))
