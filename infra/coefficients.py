"""Fits the constants of risk/pricing/cells.py; prints them with the error they reach.

Both fits are Chebyshev fits: the greatest error is made least. Lawson's method finds them as the
limit of weighted least squares: each round multiplies the weight of a sample by the error seen
there, so that the weight gathers where the error is greatest, until the error is level. The
denominator of a rational is made linear by dividing by the one of the round before.

    python -m infra.coefficients
"""

from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 60

SAMPLES = 300
ROUNDS = 60
PLAIN_ROUNDS = 8  # before the weights start to move

Function = Callable[[mp.mpf], mp.mpf]


def chebyshev_fit(
    function: Function, weight: Function, low: float, high: float, numerator: int, denominator: int
) -> tuple[list[mp.mpf], list[mp.mpf], mp.mpf]:
    """Return coefficients, lowest power first, and the greatest weighted error at the samples.

    Degrees are given; the constant term of the denominator is one.
    """
    middle, half = mp.mpf(low + high) / 2, mp.mpf(high - low) / 2
    at = [middle - half * mp.cos(mp.pi * (2 * k + 1) / (2 * SAMPLES)) for k in range(SAMPLES)]
    value, scale = [function(x) for x in at], [weight(x) for x in at]
    emphasis, divisor = [mp.mpf(1)] * SAMPLES, [mp.mpf(1)] * SAMPLES
    for step in range(ROUNDS):
        top, bottom = _least_squares(
            at,
            value,
            [e * (s / d) ** 2 for e, s, d in zip(emphasis, scale, divisor, strict=True)],
            numerator,
            denominator,
        )
        divisor = [mp.polyval(bottom[::-1], x) for x in at]
        error = [
            abs(s * (mp.polyval(top[::-1], x) / d - v))
            for x, v, s, d in zip(at, value, scale, divisor, strict=True)
        ]
        if step >= PLAIN_ROUNDS:
            emphasis = [e * r for e, r in zip(emphasis, error, strict=True)]
            total = sum(emphasis)
            emphasis = [max(e * SAMPLES / total, mp.mpf(10) ** -30) for e in emphasis]
    return top, bottom, max(error)


def _least_squares(
    at: list[mp.mpf], value: list[mp.mpf], emphasis: list[mp.mpf], numerator: int, denominator: int
) -> tuple[list[mp.mpf], list[mp.mpf]]:
    size = numerator + 1 + denominator
    normal, right = mp.matrix(size, size), mp.matrix(size, 1)
    for x, v, e in zip(at, value, emphasis, strict=True):
        row = [x**k for k in range(numerator + 1)]
        row += [-v * x**k for k in range(1, denominator + 1)]
        for i in range(size):
            right[i] += e * row[i] * v
            for j in range(i, size):
                normal[i, j] += e * row[i] * row[j]
    for i in range(size):
        for j in range(i):
            normal[i, j] = normal[j, i]
    solution = list(mp.lu_solve(normal, right))
    return solution[: numerator + 1], [mp.mpf(1), *solution[numerator + 1 :]]


def gaussian(x: mp.mpf) -> mp.mpf:
    return mp.exp(-x * x / 2)


def tail_ratio(x: mp.mpf) -> mp.mpf:
    """Upper tail of the normal distribution over exp(-x²/2)."""
    return mp.erfc(x / mp.sqrt(2)) / 2 / gaussian(x)


def show(name: str, coefficients: list[mp.mpf]) -> None:
    for power, coefficient in enumerate(coefficients):
        print(f"{name}{power} = {float(coefficient)!r}")


def main() -> None:
    top, bottom, error = chebyshev_fit(tail_ratio, gaussian, 0.0, 8.0, 5, 6)
    print(f"tail ratio, error times exp(-x²/2) {mp.nstr(error, 3)}")
    show("_NUMERATOR_", top)
    show("_DENOMINATOR_", bottom)
    power, _, error = chebyshev_fit(
        lambda x: mp.mpf(2) ** x, lambda x: mp.mpf(2) ** -x, -0.5, 0.5, 10, 0
    )
    print(f"2^x, relative error {mp.nstr(error, 3)}")
    show("_POWER_", power)


if __name__ == "__main__":
    main()
