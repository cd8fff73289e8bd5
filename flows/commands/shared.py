"""What every command shares: its consoles, its common options, and how results are printed."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

PIPED_WIDTH = 140
"""Columns when the output goes to a file or another program, which have no width of their own."""

CONSOLE = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
MESSAGES = Console(stderr=True)

Runs = Annotated[str | None, Parameter(name="--runs")]
Unapproved = Annotated[bool, Parameter(name="--unapproved", negative=())]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="print results as JSON")]


def with_runs(runs: str | None) -> str:
    """Return how the next command finds the runs that this one was given."""
    return "" if runs is None else f" --runs {runs}"


def print_json(value: Any) -> None:
    """Print a result as JSON on standard output, and nothing else."""
    print(json.dumps(value, indent=2, allow_nan=False))


def say_report(run_id: str, path: Path, *, json: bool) -> None:
    """Say where the report of a run was written."""
    if json:
        print_json({"run_id": run_id, "report": str(path)})
    else:
        CONSOLE.print(f"report: {path}", highlight=False, soft_wrap=True)


def require_folder(source: Path) -> None:
    """Refuse a source that is not a folder of files.

    Raises:
        ValueError: there is nothing, or a file.
    """
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise ValueError(f"{source} {what}; give the folder that holds the files of the dataset")


def require_file(source: Path, what: str) -> None:
    """Refuse a source that is not a file; ``what`` says what it should hold.

    Raises:
        ValueError: there is nothing, or a folder.
    """
    if not source.is_file():
        seen = "is a folder" if source.is_dir() else "does not exist"
        raise ValueError(f"{source} {seen}; give {what}")


def require_plain_name(name: str) -> None:
    """Refuse a name that could not name a folder and its runs.

    Raises:
        ValueError: the name has other characters than letters, digits, '.', '_' and '-'.
    """
    from workers.plan import PLAIN_NAME

    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(
            f"name {name!r} is not plain; use letters, digits, '.', '_' and '-', beginning with a "
            "letter or digit"
        )
