"""The file of other people's numbers: read, and refused in sentences where it is broken."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.json_text import require_shallow

REQUIRED = ("id", "method", "inputs", "expected", "tolerance", "verified")
REQUIRED_OF_TABLES = ("id", "inputs")
VERIFIED = ("recomputed", "read-only")
TOLERANCES = ("rel", "abs", "abs_ray")
PROBLEMS_SHOWN = 10


class BrokenVectorFile(ValueError):
    """A file that is not one of vectors; the message names each problem in a line."""


@dataclass(frozen=True, slots=True)
class Vector:
    """The inputs of one calculation and what somebody else found it to give.

    ``tolerance`` maps "rel", "abs" or "abs_ray" to a non-negative number; ``verified`` is
    "recomputed" where a second script found the number again, "read-only" where it was only read.
    """

    id: str
    method: str
    inputs: Mapping[str, Any]
    expected: Mapping[str, Any]
    tolerance: Mapping[str, float]
    verified: str
    source: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class VectorFile:
    """The vectors of a file, and by id the inputs of the tables that they refer to."""

    tables: Mapping[str, Any]
    vectors: tuple[Vector, ...]


def read_vectors(path: Path) -> VectorFile:
    """Read a file of vectors.

    Raises:
        BrokenVectorFile: it is not JSON, or its content is not what the format asks for.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        require_shallow(text)
        content = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except BrokenVectorFile as error:
        raise BrokenVectorFile(f"{path}: {error}") from None
    except ValueError as error:
        raise BrokenVectorFile(f"{path} is not JSON: {error}") from None
    return parse_vectors(content, str(path))


def parse_vectors(content: Any, name: str) -> VectorFile:
    """Check the content of a file called ``name`` and return its vectors.

    Raises:
        BrokenVectorFile: the content is not what the format asks for.

    >>> parse_vectors({"vectors": [{"id": "x"}]}, "mine.json")
    Traceback (most recent call last):
    ...
    workers.conformance.vector_file.BrokenVectorFile: mine.json cannot be used:
    vector 'x' has no field 'method', 'inputs', 'expected', 'tolerance', 'verified'
    """
    problems = list(_problems(content))
    if problems:
        lines = problems[:PROBLEMS_SHOWN]
        if more := len(problems) - len(lines):
            lines.append(f"and {more:,} more")
        raise BrokenVectorFile("\n".join([f"{name} cannot be used:", *lines]))
    used = (*REQUIRED, "source", "note")
    return VectorFile(
        tables={table["id"]: table["inputs"] for table in content.get("tables", [])},
        vectors=tuple(
            Vector(**{key: row[key] for key in used if key in row}) for row in content["vectors"]
        ),
    )


def _problems(content: Any) -> Iterator[str]:
    if not isinstance(content, dict) or not isinstance(content.get("vectors"), list):
        yield "it must be an object that holds a list 'vectors', and where they need one 'tables'"
        return
    tables = content.get("tables", [])
    if not isinstance(tables, list):
        yield f"'tables' must be a list, got {type(tables).__name__}"
        return
    yield from _duplicates([*tables, *content["vectors"]])
    for row, one in enumerate(tables):
        yield from _missing(one, REQUIRED_OF_TABLES, f"table {_name(one, row)}")
    known = {table["id"] for table in tables if _plain(table, "id")}
    for row, vector in enumerate(content["vectors"]):
        what = f"vector {_name(vector, row)}"
        missing = list(_missing(vector, REQUIRED, what))
        yield from missing or _wrong(vector, what, known)


def _missing(one: Any, required: tuple[str, ...], what: str) -> Iterator[str]:
    if not isinstance(one, dict):
        yield f"{what} must be an object, got {type(one).__name__}"
        return
    if absent := [repr(key) for key in required if key not in one]:
        yield f"{what} has no field {', '.join(absent)}"
    elif not _plain(one, "id"):
        yield f"{what}: 'id' must be a text that is not empty, got {one['id']!r}"


def _wrong(vector: dict[str, Any], what: str, known: set[str]) -> Iterator[str]:
    if not isinstance(vector["inputs"], dict):
        yield f"{what}: 'inputs' must be an object, got {type(vector['inputs']).__name__}"
    if not _plain(vector, "method"):
        yield f"{what}: 'method' must be a text that is not empty, got {vector['method']!r}"
    if not isinstance(vector["expected"], dict) or not vector["expected"]:
        yield f"{what}: 'expected' must be an object with at least one number"
    if vector["verified"] not in VERIFIED:
        yield f"{what}: 'verified' must be one of {VERIFIED}, got {vector['verified']!r}"
    tolerance = vector["tolerance"]
    if not isinstance(tolerance, dict) or not tolerance or set(tolerance) - set(TOLERANCES):
        yield f"{what}: 'tolerance' must map some of {TOLERANCES} to a number, got {tolerance!r}"
    elif any(type(one) not in (int, float) or one < 0 for one in tolerance.values()):
        yield f"{what}: a tolerance must be a number of 0 or more, got {tolerance!r}"
    for key, name in _references(vector["inputs"]):
        if name not in known:
            yield f"{what}: {key} names table {name!r}, which the file does not hold"


def _references(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every entry of nested inputs whose key ends in ``_ref``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith("_ref") and isinstance(inner, str):
                yield key, inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _duplicates(rows: list[Any]) -> Iterator[str]:
    seen: set[str] = set()
    for row in rows:
        if _plain(row, "id"):
            if row["id"] in seen:
                yield f"id {row['id']!r} stands there twice; ids are unique in a file"
            seen.add(row["id"])


def _plain(one: Any, key: str) -> bool:
    return isinstance(one, dict) and isinstance(one.get(key), str) and bool(one[key])


def _name(one: Any, row: int) -> str:
    return repr(one["id"]) if _plain(one, "id") else f"number {row + 1}"


def _refuse(constant: str) -> float:
    raise BrokenVectorFile(f"it holds {constant}; allowed are finite numbers, and null for nothing")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)
