"""The margin stage on one core, on two cores, and on two nodes of one core each.

The runs are of one book, cut into the same shards, on three Rays that are started beforehand and
take turns, and their digests must be one. Seconds are those of the margin stage in the manifest,
medians of rounds.
"""

import contextlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from infra.bench.books import kept_book
from infra.bench.cluster import two_nodes
from infra.bench.runs import Made, ray_process
from workers.plan import RunRequest

SHARDS = 8


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Return accounts a second of the margin stage, beside fewer cores and fewer nodes."""
    book = kept_book(65_536 if quick else 262_144)
    rounds = 1 if quick else 5
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(two_nodes())
        rays = {
            "one core": stack.enter_context(ray_process(1)),
            "two cores": stack.enter_context(ray_process(2)),
            "two nodes": stack.enter_context(ray_process(2, cluster.address, cluster.env)),
        }
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        seconds: dict[str, list[float]] = {name: [] for name in rays}

        def made(name: str, number: int) -> Made:
            workers = 1 if name == "one core" else 2
            runs = folder / f"{name}-{number}"
            return rays[name](RunRequest(book.path, runs=runs, shards=SHARDS, workers=workers))

        # The first run of each finds workers that are still importing; all start at once.
        with ThreadPoolExecutor() as pool:
            digests = {first.digest for first in pool.map(lambda name: made(name, 0), rays)}
        for number in range(1, rounds + 1):
            for name in rays:
                timed = made(name, number)
                digests.add(timed.digest)
                seconds[name].append(timed.seconds("margin"))
    assert len(digests) == 1, f"one book, {len(digests)} digests: {digests}"
    rate = {name: book.accounts / median(times) for name, times in seconds.items()}
    return {
        "two_cores": _line(rate, "two cores", "one core"),
        "two_raylets": _line(rate, "two nodes", "two cores"),
    }


def _line(rate: dict[str, float], ours: str, peer: str) -> dict[str, Any]:
    return {
        "ours": rate[ours],
        "peer": rate[peer],
        "ratio": rate[ours] / rate[peer],
        "unit": "accounts/s",
        "peer_name": f"the margin stage on {peer}, ours on {ours}, wall time",
    }
