"""The tables and the picture of ``docs/scaling.md``, from what was measured."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.scaling.model import STAGES, Constants, Job, Point, fit, job_of, predict
from infra.scaling.picture import picture

PAGE = Path("docs") / "scaling.md"
PICTURE = Path("docs") / "scaling.svg"
CORES = (2, 16, 128, 1_024)
SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
PRICE = 0.05
"""USD for a core-hour in the tables; choice."""

NAMES = {
    "start": ("start of the program, Ray and Prefect, and its end", "s"),
    "prepare": ("open, plan", "s"),
    "prepare_account": ("hash the book, by account", "µs"),
    "price": ("price the cube, whatever its size", "s"),
    "price_cell": ("price a cell of the cube", "ns"),
    "margin": ("margin stage, whatever its size", "s"),
    "margin_position_scenario": ("a position under a scenario", "ns"),
    "margin_account": ("an account: read, net, stack, store", "µs"),
    "margin_shard": ("a task, whatever its size", "s"),
    "commit_shard": ("wait and commit, by shard, in one process", "s"),
    "fold": ("fold, whatever its size", "s"),
    "fold_account": ("fold an account", "µs"),
    "verify": ("verify, whatever its size", "s"),
    "verify_account": ("verify an account", "µs"),
    "memory": ("memory of all processes: programs", "GB"),
    "memory_worker": ("memory by worker", "MB"),
    "memory_account": ("memory by account", "bytes"),
    "book_account": ("book on disk, by account", "bytes"),
    "run": ("run on disk, whatever its size", "MB"),
    "run_account": ("run on disk, by account", "bytes"),
}
WANTED = {
    "two_cores": "1.8 and more",
    "two_raylets": "0.9 and more",
    "incremental_1pct": "0.10 and less",
    "incremental_1pct_spread": "no bound",
    "margin_10m": "2 and less",
    "margin_10m_wall": "no bound",
    "margin_1m_duckdb": "no bound",
}
"""Lines of ``make bench`` on whole runs, and the ratio that is wanted of each."""

SCALE = {"s": 1.0, "µs": 1e6, "ns": 1e9, "GB": 1e-9, "MB": 1e-6, "bytes": 1.0}


def training(points: Sequence[Point]) -> list[Point]:
    """Return all points but those of the largest size, so that what a fit says of it is foretold.

    Where only one size would be left, nothing is left out.
    """
    largest = max(point["accounts"] for point in points)
    smaller = [point for point in points if point["accounts"] < largest]
    sizes = {point["accounts"] for point in smaller}
    return smaller if len(sizes) > 1 else list(points)


def typical(measured: dict[str, Any], accounts: float, cores: int) -> Job:
    """Return a job like those measured, of another size and on other cores."""
    like = measured["points"][0]
    positions = round(accounts * like["positions"] / like["accounts"])
    return Job(round(accounts), positions, like["scenarios"], like["instruments"], cores)


def drawn(measured: dict[str, Any]) -> str:
    """Return the picture as SVG."""
    points = measured["points"]
    constants = fit(points)
    scenarios = points[0]["scenarios"]
    whole = [
        (point["accounts"], point["wall"])
        for point in points
        if (point["cores"], point["scenarios"], point["shards"]) == (CORES[0], scenarios, None)
    ]
    return picture(
        lambda accounts, cores: predict(constants, typical(measured, accounts, cores)).wall,
        CORES,
        whole,
    )


def whole_run_lines(lines: dict[str, Any]) -> dict[str, Any]:
    """Return the lines of whole runs among those of a bench."""
    names = ("ours", "peer", "ratio", "unit", "peer_name")
    return {name: {key: lines[name][key] for key in names} for name in WANTED if name in lines}


def with_tables(text: str, measured: dict[str, Any]) -> str:
    """Return the page with its tables written anew, each between two marks of its name."""
    constants = fit(measured["points"])
    tables = {
        "points": _points(measured),
        "constants": _constants(constants),
        "predictions": _predictions(measured, constants),
        "traffic": _traffic(measured),
        "bench": _bench(measured.get("bench", {})),
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"{PAGE} has no lines {begin!r} and {end!r}; they mark the table")
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text = pattern.sub(f"{begin}\n{table}\n{end}".replace("\\", r"\\"), text)
    return text


def _points(measured: dict[str, Any]) -> str:
    kept = training(measured["points"])
    constants = fit(kept)
    rows = []
    for point in measured["points"]:
        found = predict(constants, job_of(point))
        rows.append(
            [
                f"{point['accounts']:,}",
                f"{point['scenarios']:,}",
                str(point["cores"]),
                str(job_of(point).shard_count),
                *(f"{point['seconds'][stage]:.1f}" for stage in STAGES),
                f"{point['wall']:.1f}",
                f"{found.wall:.1f}" + ("" if point in kept else " (not fitted)"),
                f"{point['peak_memory_bytes'] / 1e9:.2f}",
            ]
        )
    headings = ("accounts", "scenarios", "cores", "shards", *STAGES, "wall", "model", "GB")
    said = (
        f"{measured['machine']}, {measured['measured'][:10]}; seconds, and the peak of memory; of "
        f"{measured['rounds']} runs each, and of one of the largest size, that of median wall time."
    )
    return said + "\n\n" + _table(headings, rows)


def _constants(constants: Constants) -> str:
    rows = []
    for name, (meaning, unit) in NAMES.items():
        rows.append([meaning, f"{getattr(constants, name) * SCALE[unit]:,.3g} {unit}"])
    return _table(("what", "cost"), rows)


def _predictions(measured: dict[str, Any], constants: Constants) -> str:
    rows = []
    for accounts in SIZES:
        for cores in CORES:
            found = predict(constants, typical(measured, accounts, cores))
            rows.append(
                [
                    f"{accounts:,}",
                    f"{cores:,}",
                    _time(found.seconds["margin"]),
                    _time(found.seconds["fold"]),
                    _time(found.wall),
                    f"{found.core_hours:,.2f}",
                    f"{found.cost(PRICE):,.2f}",
                    f"{found.disk_bytes / 1e9:,.1f}",
                ]
            )
    headings = ("accounts", "cores", "margin", "fold", "wall", "core-hours", "USD", "GB on disk")
    return _table(headings, rows)


def _traffic(measured: dict[str, Any]) -> str:
    seen = measured["traffic"]
    task = "margin_shard"
    rows = [
        ["the cube itself", f"{seen['cube_bytes'] / 1e6:.1f} MB"],
        ["shared by a wave of shards, once a node", f"{seen['shared_by_wave'][task] / 1e6:.1f} MB"],
        ["sent with a task", f"{seen['sent_by_task'][task] / 1e3:.2f} kB"],
        ["returned by a task", f"{seen['returned_by_task'][task] / 1e3:.1f} kB"],
        [
            "read from storage by a task of 65,536 accounts",
            f"{seen['book_bytes_by_account'] * 65_536 / 1e6:.1f} MB",
        ],
    ]
    return _table(("what", "size"), rows)


def _bench(lines: dict[str, Any]) -> str:
    rows = [
        [
            f"`{name}`",
            f"{line['ours']:,.4g}",
            f"{line['peer']:,.4g}",
            f"{line['ratio']:.3g}",
            WANTED[name],
            line["unit"],
            line["peer_name"],
        ]
        for name, line in lines.items()
    ]
    return _table(("line", "ours", "peer", "ratio", "wanted", "unit", "peer is"), rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _time(seconds: float) -> str:
    """Return seconds as people say them.

    >>> _time(42.0), _time(600.0), _time(9_000.0)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120.0:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7_200.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3_600.0:.1f} h"
