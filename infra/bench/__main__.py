"""``python -m infra.bench``: kernels and whole runs beside named peers, on this machine."""

import argparse
import json
import os
from pathlib import Path

# One core on either side: set before a library starts its threads.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

from rich.console import Console  # noqa: E402 - after the thread counts
from rich.table import Table  # noqa: E402

from infra.bench import (  # noqa: E402
    bounds,
    command,
    cores,
    database,
    incremental,
    kernels,
    proofs,
    repricing,
    scan,
    tables,
)

KERNELS = [kernels.run, scan.run, repricing.run, tables.run, proofs.run]
WHOLE_RUNS = [cores.run, incremental.run, database.run, command.run]
OUTPUT = Path("build") / "bench.json"


def main() -> None:
    """Run every benchmark, print a table and write ``build/bench.json``."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller books, fewer rounds")
    parser.add_argument("--runs", action="store_true", help="whole runs alone, and no kernel")
    given = parser.parse_args()
    quick = given.quick
    lines = {}
    for run in WHOLE_RUNS if given.runs else KERNELS + WHOLE_RUNS:
        print(f"{run.__module__} ...", flush=True)
        for name, line in run(quick).items():
            lines[name] = line
            print(f"  {name} {line['ratio']:.2f}x", flush=True)
    if not given.runs:
        lines |= bounds.of_bound(lines)
    table = Table(width=110, title="One core and CPU seconds, float64, unless named otherwise")
    for heading in ("benchmark", "ours", "peer", "ratio", "unit", "peer is"):
        table.add_column(
            heading, justify="right" if heading in ("ours", "peer", "ratio") else "left"
        )
    for name, line in lines.items():
        figures = (f"{line['ours']:.3g}", f"{line['peer']:.3g}", f"{line['ratio']:.2f}x")
        table.add_row(name, *figures, line["unit"], line.get("peer_name", ""))
    Console(width=110).print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    if given.runs and OUTPUT.exists():
        lines = json.loads(OUTPUT.read_text()) | lines
    OUTPUT.write_text(json.dumps(lines, indent=2) + "\n")


if __name__ == "__main__":
    main()
