"""Many seeds in bounded time, and what they came to."""

import contextlib
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infra.chaos.ground import make_ground, ray_head, small_disk
from infra.chaos.trial import FAULTS, Outcome, Trial

DISK_MEGABYTES = 96
ENGINES = ("serial", "ray")


def campaign(seeds: list[int], minutes: float, *, ray: bool = True) -> dict[str, Any]:
    """Run every seed that the minutes allow, and return the report."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        ground = make_ground(folder, ("margin", "collateral", "stress"))
        full_disk = stack.enter_context(small_disk(folder / "disk", DISK_MEGABYTES))
        head = stack.enter_context(ray_head()) if ray else None
        until = time.monotonic() + 60.0 * minutes
        outcomes: list[Outcome] = []
        for seed in seeds:
            if time.monotonic() > until:
                break
            place = folder / "disk" / str(seed)
            outcomes.append(Trial(ground, seed, place, full_disk, head).run())
            say(outcomes[-1])
        return {"asked": len(seeds)} | report(outcomes, full_disk)


def say(outcome: Outcome) -> None:
    """Print a line about a seed, and how to see it again where something was wrong."""
    line = f"seed {outcome.seed}: {outcome.kind} on {outcome.engine}, {outcome.seconds:.1f} s, "
    print(line + (", ".join(outcome.faults) or "no fault came in time"), flush=True)
    if outcome.wrong:
        print(f"  WRONG: {outcome.wrong}", flush=True)
        print(f"  again: python -m infra.chaos --seed {outcome.seed}", flush=True)


def report(outcomes: list[Outcome], full_disk: bool) -> dict[str, Any]:
    """Return counts, what each fault cost, recovery by engine, and every outcome."""
    struck = [one for one in outcomes if one.faults]
    by_engine = {name: [one for one in struck if one.engine == name] for name in ENGINES}
    wrong = [one for one in outcomes if one.wrong]
    return {
        "seeds": len(outcomes),
        "disk": "a small file system" if full_disk else "a limit on the size of files",
        "faults": {name: cost(name, struck) for name in FAULTS},
        "recovered": sum(not one.wrong for one in struck),
        "lost": sum(one.lost for one in wrong),
        "wrong": len(wrong),
        "failed_seeds": [one.seed for one in wrong],
        "recovery": {name: recovery(ended) for name, ended in by_engine.items()},
        "outcomes": [asdict(one) for one in outcomes],
    }


def cost(name: str, struck: list[Outcome]) -> dict[str, Any]:
    """Return how often a fault came, what it let be done again, and recovery where it came last."""
    redone = [
        shards
        for one in struck
        for fault, shards in zip(one.faults, one.redone, strict=True)
        if fault == name
    ]
    return {
        "injected": len(redone),
        "redone_shards_worst": max(redone, default=0),
        **recovery([one for one in struck if one.faults[-1] == name]),
    }


def recovery(struck: list[Outcome]) -> dict[str, Any]:
    """Return how long seeds took from the end of their last fault to the publication."""
    seconds = [one.recovery_s for one in struck if not one.wrong]
    return {
        "seeds": len(struck),
        "median_s": statistics.median(seconds) if seconds else None,
        "worst_s": max(seconds, default=None),
    }
