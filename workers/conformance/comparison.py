"""A computed number against an expected one."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


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
    return list(_compare_mapping("", expected, got, tolerance))


def _compare(path: str, expected: Any, got: Any, tolerance: Mapping[str, float]) -> Any:
    if isinstance(got, np.ndarray | np.generic):
        got = got.tolist()
    if isinstance(expected, Mapping):
        yield from _compare_mapping(path, expected, got, tolerance)
    elif isinstance(expected, list):
        yield from _compare_list(path, expected, got, tolerance)
    elif _is_ray(expected, tolerance):
        yield _compare_numbers(path, expected, got, {"abs": tolerance["abs_ray"]})
    elif _is_number(expected):
        yield _compare_numbers(path, expected, got, tolerance)
    else:
        same = type(expected) is type(got) and expected == got
        yield Comparison(path, expected, got, same, reason="" if same else "not equal")


def _compare_mapping(
    path: str, expected: Mapping[str, Any], got: Any, tolerance: Mapping[str, float]
) -> Iterator[Comparison]:
    if not isinstance(got, Mapping):
        yield Comparison(path, dict(expected), got, False, reason="not an object")
        return
    for key, value in expected.items():
        inner = f"{path}.{key}" if path else str(key)
        if key in got:
            yield from _compare(inner, value, got[key], tolerance)
        else:
            yield Comparison(inner, value, None, False, reason="not computed by this method")


def _compare_list(
    path: str, expected: list[Any], got: Any, tolerance: Mapping[str, float]
) -> Iterator[Comparison]:
    if not isinstance(got, list | tuple):
        yield Comparison(path, expected, got, False, reason="not a list")
        return
    for row, (one, other) in enumerate(zip(expected, got, strict=False)):
        yield from _compare(f"{path}[{row}]", one, other, tolerance)
    if len(got) != len(expected):
        reason = "of another length"
        yield Comparison(f"{path}.length", len(expected), len(got), False, reason=reason)


def _compare_numbers(
    path: str, expected: Any, got: Any, tolerance: Mapping[str, float]
) -> Comparison:
    wanted, found = _number(expected), _number(got)
    if wanted is None or found is None:
        return Comparison(path, expected, got, False, reason="not a number")
    if not math.isfinite(found):
        return Comparison(path, expected, str(got), False, reason="not finite")
    # Two integers are subtracted as integers: rays have more digits than a float.
    error = abs(found - wanted)
    allowed = max(tolerance.get("abs", 0.0), tolerance.get("rel", 0.0) * abs(wanted))
    relative = float(error / abs(wanted)) if wanted else None
    return Comparison(path, expected, got, bool(error <= allowed), float(error), relative)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_ray(value: Any, tolerance: Mapping[str, float]) -> bool:
    return "abs_ray" in tolerance and (_is_number(value) or isinstance(value, str))


def _number(value: Any) -> int | float | None:
    """Return a number as it is, a text of digits as an integer, and nothing of anything else."""
    if _is_number(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    return None
