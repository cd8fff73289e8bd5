"""``python -m infra.scaling``: write the tables and the picture of ``docs/scaling.md``.

With ``--measure`` the runs are measured first, into ``infra/scaling/measured.json``.
"""

import argparse
import json
from pathlib import Path

from infra.scaling.measure import LARGE, ROUNDS, measure
from infra.scaling.page import PAGE, PICTURE, drawn, with_tables

MEASURED = Path(__file__).with_name("measured.json")


def main() -> None:
    """Measure if asked, and write the page anew from what was measured."""
    parser = argparse.ArgumentParser(prog="python -m infra.scaling", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure the runs first")
    parser.add_argument("--largest", type=int, default=LARGE, help="accounts of the largest run")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of each smaller size")
    given = parser.parse_args()
    if given.measure:
        MEASURED.write_text(json.dumps(measure(given.largest, given.rounds), indent=2) + "\n")
    measured = json.loads(MEASURED.read_text())
    PICTURE.write_text(drawn(measured))
    PAGE.write_text(with_tables(PAGE.read_text(), measured))
    print(f"wrote {PICTURE} and the tables of {PAGE}")


if __name__ == "__main__":
    main()
