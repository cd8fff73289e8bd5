"""How the run was made: where its time went, and its manifest."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from flows.format import NOTHING, duration, exact, short
from flows.report.picture import (
    Choice,
    Layout,
    Picture,
    Sentence,
    Table,
    amount_axis,
    bars,
    end_labels,
    hover,
    named_axis,
    plain,
    safe,
)

Manifest = Mapping[str, Any]


def stages(manifest: Manifest) -> Picture | Sentence:
    """Return the seconds that each stage's workers computed and waited."""
    title = "Where the time went"
    rows = manifest.get("stages") or []
    if not rows:
        return Sentence(title, "This run recorded no stages.", wide=True)
    names = [_words(str(row.get("name", ""))) for row in rows]
    wall, busy, waiting = (
        np.array([_number(row, key) for row in rows]) for key in ("wall_s", "busy_s", "waiting_s")
    )
    texts = [
        hover(
            name,
            ("Wall time", duration(_number(row, "wall_s"))),
            ("Workers busy", duration(_number(row, "busy_s"))),
            ("Workers waiting", duration(_number(row, "waiting_s"))),
            ("Done", f"{exact(_number(row, 'items'))} {safe(row.get('unit', ''))}"),
            ("Rate", f"{short(_number(row, 'rate'))} {safe(row.get('unit', ''))} a second"),
        )
        for name, row in zip(names, rows, strict=True)
    ]
    labels = [
        f"{duration(seconds)} · {short(_number(row, 'rate'))} {row.get('unit', '')}/s"
        for seconds, row in zip(wall, rows, strict=True)
    ]
    together: Layout = {
        "barmode": "stack",
        "xaxis": amount_axis("Seconds of all workers", busy + waiting, room=0.4),
        "yaxis": named_axis(names),
    }
    walls: Layout = {
        "xaxis": amount_axis("Seconds on the clock", wall, room=0.4),
        "yaxis": named_axis(names),
        "showlegend": False,
    }
    worded = [safe(label) for label in labels]
    return Picture(
        name="stages",
        title=title,
        caption=(
            "Stages in the order in which they ended. Seconds that workers computed, and seconds "
            "in which they were there and had nothing to do; with several workers both add up "
            "to more than the clock shows. The words give the time on the clock and the rate. "
            "Stages may overlap."
        ),
        choices=(
            Choice(
                "Busy and waiting",
                [
                    bars(plain(busy), texts, "--layer-1", "Busy"),
                    bars(plain(waiting), texts, "--calm", "Waiting"),
                    end_labels(plain(busy + waiting), worded),
                ],
                together,
            ),
            Choice(
                "On the clock",
                [bars(plain(wall), texts, "--layer-1", "Wall"), end_labels(plain(wall), worded)],
                walls,
            ),
        ),
        height=110 + 30 * len(rows),
        wide=True,
    )


def manifest_table(manifest: Manifest) -> Table:
    """Return the manifest as rows of name and value, but for the stages that are drawn."""
    rest = {key: value for key, value in manifest.items() if key != "stages"}
    return Table(
        title="Manifest",
        caption="Everything that went into the run and identifies it. Digests are SHA-256.",
        columns=("Field", "Value"),
        rows=list(_flat(rest)),
        text_columns=(0, 1),
        wide=True,
        folded=True,
    )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for at, part in enumerate(value):
            yield from _flat(part, f"{name}[{at}]")
    else:
        yield name, _cell(value)


def _cell(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not np.isfinite(value):
            return NOTHING
        return f"{value:,.2f}" if abs(value) >= 1000.0 else f"{value:g}"
    if isinstance(value, list):
        return ", ".join(_cell(part) for part in value)
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _number(row: dict[str, Any], key: str) -> float:
    return float(row.get(key) or 0.0)
