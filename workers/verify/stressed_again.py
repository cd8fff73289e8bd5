"""A stress run made again: what follows from its scenarios, and some scenarios themselves.

By the same code as the run, to the bit: it finds what was changed in storage, and not what the
code has wrong. The sums and the clearing of ``workers.verify.stress`` are others'.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from storage.runs import RunStore, StoredRun
from workers.code_version import code_version
from workers.engine import SerialEngine
from workers.memory import room_here
from workers.stress.batch import stress_batch, stress_inputs
from workers.stress.network import network_dataset
from workers.stress.request import StressRequest, identity_of, stress_key
from workers.stress.results import plan_dataset, totals_dataset
from workers.stress.systems import compare_systems, compared_scenarios, systems_dataset
from workers.stress.work import StressWork, plan_stress


@dataclass
class StressedAgain:
    """A published stress run, and the stores of what it was made of."""

    run: StoredRun
    runs: RunStore
    pools: RunStore | None

    @cached_property
    def work(self) -> StressWork:
        """What was known before the first scenario."""
        identity = identity_of(self.run, self.runs, self.pools)
        asked = StressRequest(identity.run.run_id, identity.named.plan.name, self.runs.path)
        return plan_stress(identity, asked, [room_here(1)])

    def key(self) -> list[str]:
        """Return how the run is not what its inputs name."""
        identity, manifest = self.work.identity, self.run.manifest
        used = manifest["inputs"]
        found = [
            f"{what} {used[what]['run_id']} has digest {one.manifest['digest'][:12]}, the run used "
            f"{used[what]['digest'][:12]}"
            for what, one in (("run", identity.run), ("pool", identity.pool))
            if one is not None and one.manifest["digest"] != used[what]["digest"]
        ]
        key = stress_key(identity.run, identity.named, identity.pool, manifest["code_version"])
        if key != manifest["key"]:
            found.append(f"inputs: their digests make the key {key[:12]}, not {self.run.run_id}")
        return found

    def derived(self) -> list[str]:
        """Return what differs in that which follows from the scenarios that are stored."""
        work, stored = self.work, self.run.groups["scenarios"].load()
        again = {
            "plan": plan_dataset(work),
            "totals": totals_dataset(work, stored),
            "network": network_dataset(work, stored),
        }
        spec, compared = work.identity.named.plan.insulation, len(compared_scenarios(work))
        if spec is not None and compared:
            inputs = stress_inputs(work, self.runs.path, compared)
            systems = systems_dataset(work, compare_systems(SerialEngine(), inputs, work, spec))
            again["totals"] = again["totals"].merge(systems)
        return [
            one
            for group, dataset in again.items()
            for one in self._apart(group, self.run.groups[group].load(), dataset)
        ]

    def cascades(self, rows: list[int]) -> list[str]:
        """Return what differs in some scenarios when they are gone through again."""
        if not rows:
            return []
        arrays = stress_batch(SerialEngine(), self.work, self.runs.path, rows)
        stored = self.run.groups["scenarios"].isel(scenario=rows).load()
        again = xr.Dataset({name: (stored[name].dims, one) for name, one in arrays.items()})
        names = ", ".join(repr(self.work.scenarios.name[row]) for row in rows)
        return [f"of {names}: {one}" for one in self._apart("scenarios", stored, again)]

    def _apart(self, group: str, stored: xr.Dataset, again: xr.Dataset) -> list[str]:
        version = self.run.manifest["code_version"]
        other = "" if version == code_version() else f" (code {version[:12]} made the run)"
        return [f"{one}{other}" for one in apart(group, stored, again)]


def apart(group: str, stored: xr.Dataset, again: xr.Dataset) -> list[str]:
    """Return the arrays of a group that are not the same to the bit.

    >>> one, other = (xr.Dataset({"sold": ("scenario", [1.0, sold])}) for sold in (2.0, 3.0))
    >>> apart("totals", one, one)
    []
    >>> apart("totals", one, other)
    ['totals/sold is 2.0 where it is 3.0 made again (1 such)']
    """
    found = [
        f"{group}/{name} is in the run and not in what is made again"
        for name in stored.data_vars
        if name not in again.variables
    ]
    for name in map(str, again.variables):
        if name not in stored.variables:
            found.append(f"{group}/{name} is made again and not in the run")
            continue
        one, other = np.asarray(stored[name].values), np.asarray(again[name].values)
        if one.shape != other.shape:
            found.append(f"{group}/{name} has shape {one.shape}, made again it is {other.shape}")
            continue
        same = one == other
        if one.dtype.kind == other.dtype.kind == "f":
            same |= np.isnan(one) & np.isnan(other)
        wrong = np.flatnonzero(~same)
        if len(wrong):
            seen, made = (values.ravel()[wrong[:1]].tolist()[0] for values in (one, other))
            found.append(
                f"{group}/{name} is {seen!r} where it is {made!r} made again ({len(wrong):,} such)"
            )
    return found
