"""A computed number against an expected one.

Numbers come from floating point on both sides, so a difference within 16 roundings of the largest
number that a vector expects is none: a residue of 1e-12 beside margins of 10,000 says nothing.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

ROUNDINGS = 16 * 2.0**-52


@dataclass(frozen=True, slots=True)
class Comparison:
    """One expected value under its path, such as ``legs[2].price``, and what was computed.

    ``error`` is the absolute and ``relative_error`` the relative distance, None where there is
    none to speak of: texts, and a relative distance from zero. ``reason`` says why a value that
    is not ``within`` its tolerance is not; of two numbers the numbers say it themselves.
    """

    path: str
    expected: Any
    got: Any
    within: bool
    error: float | None = None
    relative_error: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far off numbers may be: the absolute or the relative part, whichever admits more.

    ``rounding`` is admitted on top, and ``rays`` between whole numbers written as texts.
    """

    absolute: float = 0.0
    relative: float = 0.0
    rays: int | None = None
    rounding: float = 0.0

    @classmethod
    def of(cls, tolerance: Mapping[str, float], expected: Mapping[str, Any]) -> "Tolerance":
        """Return the tolerance of a vector from the file's field and the size of its numbers."""
        largest = max((abs(one) for one in _numbers(expected)), default=0.0)
        rays = tolerance.get("abs_ray")
        return cls(
            tolerance.get("abs", 0.0),
            tolerance.get("rel", 0.0),
            None if rays is None else int(rays),
            ROUNDINGS * largest,
        )

    def admits(self, error: float, expected: float) -> bool:
        """Whether a number may be this far from the expected one."""
        return error <= max(self.absolute, self.relative * abs(expected)) + self.rounding


def compare(
    expected: Mapping[str, Any], got: Mapping[str, Any], tolerance: Mapping[str, float]
) -> list[Comparison]:
    """Compare everything that is expected; what was computed beside it does not matter.

    A number is within its tolerance if it is within the absolute or the relative one, the
    relative one times the expected size. Texts, truth values and null must be equal.

    >>> [one.within for one in compare({"a": 100.0, "b": [1, 2]}, {"a": 101, "b": [1]}, {"rel": 0})]
    [False, True, False]
    >>> compare({"a": 100.0}, {"a": 101}, {"rel": 0.02})[0].relative_error
    0.01
    """
    return list(_compare_mapping("", expected, got, Tolerance.of(tolerance, expected)))


def _compare(path: str, expected: Any, got: Any, tolerance: Tolerance) -> Iterator[Comparison]:
    if isinstance(got, np.ndarray | np.generic):
        got = got.tolist()
    if isinstance(expected, Mapping):
        yield from _compare_mapping(path, expected, got, tolerance)
    elif isinstance(expected, list):
        yield from _compare_list(path, expected, got, tolerance)
    elif tolerance.rays is not None and isinstance(expected, str):
        yield _compare_rays(path, expected, got, tolerance.rays)
    elif _is_number(expected):
        yield _compare_numbers(path, expected, got, tolerance)
    else:
        same = type(expected) is type(got) and expected == got
        yield Comparison(path, expected, got, same, reason="" if same else f"{got!r}, not equal")


def _compare_mapping(
    path: str, expected: Mapping[str, Any], got: Any, tolerance: Tolerance
) -> Iterator[Comparison]:
    if not isinstance(got, Mapping):
        yield Comparison(path, dict(expected), str(got), False, reason="not an object")
        return
    for key, value in expected.items():
        inner = f"{path}.{key}" if path else str(key)
        if key in got:
            yield from _compare(inner, value, got[key], tolerance)
        else:
            yield Comparison(inner, value, None, False, reason="not computed by this method")


def _compare_list(
    path: str, expected: list[Any], got: Any, tolerance: Tolerance
) -> Iterator[Comparison]:
    if not isinstance(got, list | tuple):
        yield Comparison(path, expected, str(got), False, reason="not a list")
        return
    for row, (one, other) in enumerate(zip(expected, got, strict=False)):
        yield from _compare(f"{path}[{row}]", one, other, tolerance)
    if len(got) != len(expected):
        reason = f"{len(got)} values"
        yield Comparison(f"{path}.length", len(expected), len(got), False, reason=reason)


def _compare_numbers(path: str, expected: float, got: Any, tolerance: Tolerance) -> Comparison:
    if not _is_number(got):
        return Comparison(path, expected, str(got), False, reason=f"{got!r}, not a number")
    if not _is_finite(got):
        return Comparison(path, expected, str(got), False, reason=f"{got}, not finite")
    error = abs(got - expected)
    relative = None
    if error <= tolerance.rounding:
        relative = 0.0
    elif expected:
        relative = float(error / abs(expected))
    return Comparison(
        path, expected, got, bool(tolerance.admits(error, expected)), float(error), relative
    )


def _compare_rays(path: str, expected: str, got: Any, allowed: int) -> Comparison:
    """Compare whole numbers with more digits than a float has, written as texts."""
    if not (_is_whole(expected) and isinstance(got, int | str) and _is_whole(str(got))):
        return Comparison(path, expected, str(got), False, reason=f"{got!r}, not a whole number")
    error = abs(int(got) - int(expected))
    relative = error / abs(int(expected)) if int(expected) else None
    shown = float(error) if _is_finite(error) else math.inf
    return Comparison(path, expected, str(got), error <= allowed, shown, relative)


def _is_finite(number: float) -> bool:
    """Return whether a number has a float that is finite; a whole number may be too large."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(value: Any) -> Iterator[float]:
    """Yield every number of nested values."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif _is_number(value):
        yield float(value)
