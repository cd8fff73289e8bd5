"""A whole file of vectors: which of them our methods find again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from workers.conformance.comparison import Comparison, compare
from workers.conformance.method import Method
from workers.conformance.registry import methods
from workers.conformance.vector_file import Vector, VectorFile, read_vectors

Status = Literal["passed", "failed", "not supported"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one vector; ``message`` is what a method said that could not compute it."""

    vector: Vector
    status: Status
    comparisons: tuple[Comparison, ...] = ()
    message: str = ""

    @property
    def largest_relative_error(self) -> float:
        """The largest relative error of its numbers, 0 where there is none."""
        return max((one.relative_error or 0.0 for one in self.comparisons), default=0.0)


@dataclass(slots=True)
class MethodCount:
    """How many vectors of one method passed, failed, and are not supported.

    ``passed`` and ``failed`` count what a second script had recomputed; what was only read is
    counted apart.
    """

    method: str
    passed: int = 0
    failed: int = 0
    read_only_passed: int = 0
    read_only_failed: int = 0
    not_supported: int = 0
    largest_relative_error: float = field(default=0.0)

    def add(self, verdict: Verdict) -> None:
        """Count one vector."""
        name = verdict.status.replace(" ", "_")
        if verdict.status != "not supported" and verdict.vector.verified == "read-only":
            name = f"read_only_{name}"
        setattr(self, name, getattr(self, name) + 1)
        self.largest_relative_error = max(
            self.largest_relative_error, verdict.largest_relative_error
        )


def judge_file(path: Path, method: str | None = None) -> list[Verdict]:
    """Compute every vector of a file, or those of one method, and compare.

    Raises:
        BrokenVectorFile: the file is not one of vectors.
        ValueError: the file has no vector of the method.
        OSError: the file cannot be read.
    """
    content = read_vectors(path)
    if method is not None and not any(one.method == method for one in content.vectors):
        known = sorted({one.method for one in content.vectors})
        raise ValueError(f"{path} has no vector of method {method!r}; it has {', '.join(known)}")
    return judge(content, method)


def judge(content: VectorFile, method: str | None = None) -> list[Verdict]:
    """Return a verdict on every vector, or on those of one method, in the order of the file."""
    known = methods()
    chosen = (one for one in content.vectors if method in (None, one.method))
    return [_judge_one(one, known.get(one.method), content.tables) for one in chosen]


def count_by_method(verdicts: Iterable[Verdict]) -> list[MethodCount]:
    """Return the counts of each method, by name."""
    counts: dict[str, MethodCount] = {}
    for verdict in verdicts:
        name = verdict.vector.method
        counts.setdefault(name, MethodCount(name)).add(verdict)
    return [counts[name] for name in sorted(counts)]


def total(counts: Iterable[MethodCount], name: str = "all") -> MethodCount:
    """Return the sum of counts, with the largest of their errors."""
    result = MethodCount(name)
    for one in counts:
        for key in ("passed", "failed", "read_only_passed", "read_only_failed", "not_supported"):
            setattr(result, key, getattr(result, key) + getattr(one, key))
        result.largest_relative_error = max(
            result.largest_relative_error, one.largest_relative_error
        )
    return result


def _judge_one(vector: Vector, method: Method | None, tables: Mapping[str, Any]) -> Verdict:
    if method is None:
        return Verdict(vector, "not supported")
    try:
        got = method(vector.inputs, tables)
    except Exception as error:  # one vector's fault must not hide the verdicts on the others
        return Verdict(vector, "failed", message=_sentence(error))
    comparisons = tuple(compare(vector.expected, got, vector.tolerance))
    passed = all(one.within for one in comparisons)
    return Verdict(vector, "passed" if passed else "failed", comparisons)


def _sentence(error: Exception) -> str:
    if type(error) is KeyError:
        return f"the inputs hold no {error}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
