"""A stress run made again: what follows from its scenarios, and some scenarios themselves.

By the same code as the run, to the bit: it finds what was changed in storage, and not what the
code has wrong. The sums and the clearing of ``workers.verify.stress`` are others'.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from storage.runs import RunStore, StoredRun
from workers.engine import SerialEngine
from workers.memory import room_here
from workers.stress.batch import stress_batch, stress_inputs
from workers.stress.manifest import inputs_of
from workers.stress.network import network_dataset
from workers.stress.request import StressRequest, identity_of, stress_key
from workers.stress.results import plan_dataset, totals_dataset
from workers.stress.systems import compare_systems, compared_scenarios, systems_dataset
from workers.stress.work import StressWork, plan_stress
from workers.verify.checks import apart, made_by, misnamed, unlike, unlike_inputs


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

    def inputs(self) -> list[str]:
        """Hash the book again; return how the run is not what its inputs name.

        Raises:
            BookDamaged: a file of the book is not the one that was written.
        """
        identity, manifest = self.work.identity, self.run.manifest
        identity.book.verify()
        key = stress_key(identity.run, identity.named, identity.pool, manifest["code_version"])
        used = inputs_of(identity.run, identity.named, identity.pool)
        return [
            *misnamed(self.run, key, identity.book, "stress-"),
            *unlike_inputs(manifest["inputs"], used),
            *unlike("totals", manifest["totals"], {"accounts": identity.book.accounts}),
        ]

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
        labels = xr.Dataset(coords={
            name: np.array(list(label), object) for name, label in work.layout.labels.items()
        })  # fmt: skip
        return [
            *self._apart("scenarios", stored.drop_vars(list(stored.data_vars)), labels),
            *(
                one
                for group, dataset in again.items()
                for one in self._apart(group, self.run.groups[group].load(), dataset)
            ),
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
        other = made_by(self.run.manifest)
        return [f"{one}{other}" for one in apart(group, stored, again)]
