"""Numbers of papers, rule books and peers' tests, each with its source beside it."""

import json
from pathlib import Path

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "golden" / "systemic.json").read_text())[
        "cases"
    ]
}


def case(name):
    """Return inputs, expected values and the tolerance as a keyword of ``assert_allclose``."""
    found = CASES[name]
    tolerance = found["tolerance"]
    kind, _, size = tolerance.partition(":")
    words = {"abs": {"atol": float(size or 0), "rtol": 0.0}, "rel": {"rtol": float(size or 0)}}
    return found["inputs"], found["expected"], words.get(kind, {})
