"""``python -m infra.chaos``: runs under faults drawn by seeds, and runs without end."""

import argparse
import json
import signal
import sys
from pathlib import Path

from infra.chaos.campaign import campaign
from infra.chaos.load import load

OUTPUT = Path("build") / "chaos.json"


def main() -> None:
    """Run seeds or load, print what was found, and write ``build/chaos.json``."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(prog="python -m infra.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds, from --first on")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument("--minutes", type=float, default=30.0, help="begin no seed or run after")
    parser.add_argument("--no-ray", action="store_true", help="one process a run throughout")
    parser.add_argument("--load", action="store_true", help="runs back to back, and queued")
    parser.add_argument("--runs", type=int, default=1_000, help="how many runs are queued")
    given = parser.parse_args()
    if given.load:
        found = load(given.runs, given.minutes)
    else:
        first = given.first if given.seed is None else given.seed
        seeds = range(first, first + (given.seeds if given.seed is None else 1))
        found = campaign([*seeds], given.minutes, ray=not given.no_ray)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(found, indent=2) + "\n")
    print(
        json.dumps({name: value for name, value in found.items() if name != "outcomes"}, indent=2)
    )
    tried = found["done"] if given.load else found["seeds"]
    sys.exit(1 if found["wrong"] or not tried else 0)


if __name__ == "__main__":
    main()
