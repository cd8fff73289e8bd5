"""``python -m infra.scaling``: write the tables and the picture of ``docs/scaling.md``.

With ``--measure`` the runs are measured first, into ``infra/scaling/measured.json``; with
``--bench`` the lines of whole runs are taken over from ``build/bench.json``.
"""

import argparse
import json
from pathlib import Path

from infra.scaling.measure import LARGE, ROUNDS, measure
from infra.scaling.page import PAGE, PICTURE, drawn, whole_run_lines, with_tables

OUTPUT = Path("build") / "bench.json"
MEASURED = Path(__file__).with_name("measured.json")


def main() -> None:
    """Measure if asked, and write the page anew from what was measured."""
    parser = argparse.ArgumentParser(prog="python -m infra.scaling", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure the runs first")
    parser.add_argument("--bench", action="store_true", help="take over lines of `make bench`")
    parser.add_argument("--largest", type=int, default=LARGE, help="accounts of the largest run")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of each smaller size")
    given = parser.parse_args()
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    if given.measure:
        measured |= measure(given.largest, given.rounds)
    if given.bench:
        measured["bench"] = whole_run_lines(json.loads(OUTPUT.read_text()))
    MEASURED.write_text(json.dumps(measured, indent=2) + "\n")
    PICTURE.write_text(drawn(measured))
    PAGE.write_text(with_tables(PAGE.read_text(), measured))
    print(f"wrote {PICTURE} and the tables of {PAGE}")


if __name__ == "__main__":
    main()
