"""The command ``conformance``: other people's numbers, computed again."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from flows.commands.shared import CONSOLE, Json, print_json
from flows.format import NOTHING
from flows.tables import columns

if TYPE_CHECKING:
    from workers.conformance.verdicts import MethodCount, Verdict

EXIT_FAILED = 1


def conformance(
    file: Path,
    *,
    method: str | None = None,
    verbose: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """Compute a file of published numbers again, and exit with 1 if any of them is not found.

    Args:
        file: vectors and the tables they refer to, as docs/conformance.md describes
        method: only the vectors of this method
        verbose: show every vector, not only those that failed
        json: print the verdicts as JSON
    """
    from workers.conformance.verdicts import count_by_method, judge_file, total

    verdicts = judge_file(file, method)
    counts = count_by_method(verdicts)
    everything = total(counts)
    if json:
        print_json(_as_json(file, verdicts, counts, everything))
    else:
        _print_counts(counts, everything)
        if verbose:
            _print_vectors(verdicts)
        _print_failures(verdicts)
        _print_not_supported(verdicts)
    if everything.failed or everything.read_only_failed:
        sys.exit(EXIT_FAILED)


def _print_counts(counts: "Sequence[MethodCount]", everything: "MethodCount") -> None:
    table = columns(
        "Vectors",
        *("method", "passed", "failed", "read only, passed", "failed", "not supported"),
        "largest relative error",
    )
    for one in (*counts, everything):
        computed = one.passed + one.failed + one.read_only_passed + one.read_only_failed
        table.add_row(
            escape(one.method),
            *(str(number) for number in (one.passed, one.failed)),
            *(str(number) for number in (one.read_only_passed, one.read_only_failed)),
            str(one.not_supported),
            f"{one.largest_relative_error:.1e}" if computed else NOTHING,
        )
    CONSOLE.print(table, highlight=False)


def _print_vectors(verdicts: "Sequence[Verdict]") -> None:
    table = columns(
        "Every vector", "vector", "method", "verified", "verdict", "largest relative error", left=4
    )
    for one in verdicts:
        table.add_row(
            escape(one.vector.id),
            escape(one.vector.method),
            one.vector.verified,
            one.status,
            f"{one.largest_relative_error:.1e}" if one.comparisons else NOTHING,
        )
    CONSOLE.print(table, highlight=False)


def _print_failures(verdicts: "Sequence[Verdict]") -> None:
    failed = [one for one in verdicts if one.status == "failed"]
    if not failed:
        return
    table = columns("Failures", "vector", "key", "expected", "got", "relative error", left=2)
    for verdict in failed:
        for one in verdict.comparisons:
            if not one.within:
                error = NOTHING if one.relative_error is None else f"{one.relative_error:.3e}"
                cells = (
                    verdict.vector.id,
                    one.path,
                    repr(one.expected),
                    one.reason or repr(one.got),
                )
                table.add_row(*(escape(cell) for cell in cells), error)
    if table.row_count:
        CONSOLE.print(table, highlight=False)
    # What a method says may be long, and a table would cut it.
    for verdict in failed:
        if verdict.message:
            CONSOLE.print(
                f"\n{verdict.vector.id} could not be computed: {verdict.message}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _print_not_supported(verdicts: "Sequence[Verdict]") -> None:
    names = sorted({one.vector.method for one in verdicts if one.status == "not supported"})
    if names:
        CONSOLE.print(
            f"\n[bold yellow]not supported, not computed[/]: {escape(', '.join(names))}",
            highlight=False,
        )


def _as_json(
    file: Path,
    verdicts: "Sequence[Verdict]",
    counts: "Sequence[MethodCount]",
    everything: "MethodCount",
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "file": str(file),
        "totals": {key: value for key, value in asdict(everything).items() if key != "method"},
        "methods": [asdict(one) for one in counts],
        "vectors": [
            {
                "id": one.vector.id,
                "method": one.vector.method,
                "source": one.vector.source,
                "verified": one.vector.verified,
                "status": one.status,
                "message": one.message,
                "numbers": [asdict(number) for number in one.comparisons],
            }
            for one in verdicts
        ],
    }
