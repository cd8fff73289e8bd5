"""A reverse stress made again: its targets, its history, and the cascades of what was found.

By the same code as the run: it finds what was changed in storage, and not what the code has wrong.
No shock is searched for again.
"""

from ast import literal_eval
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from risk.scenarios.shocks import Shocks
from risk.systemic.reverse import ReverseStress, chance_as_far
from storage.runs import RunStore, StoredRun
from workers.engine import SerialEngine
from workers.reverse.request import ReverseRequest, reverse_identity
from workers.reverse.run import ReverseRun
from workers.reverse.search import Found
from workers.stress.manifest import inputs_of
from workers.stress.request import identity_of
from workers.stress.scenarios import StressScenarios
from workers.verify.checks import apart, made_by, misnamed, unlike, unlike_inputs

AGAIN = 1e-6
"""Relative difference allowed to what is computed another way: a distance out of its shock."""

RANK = 1e-12
"""Part of the largest variance below which a direction has none."""


@dataclass
class ReversedAgain:
    """A published reverse stress, and the store of the margin run that it stresses."""

    run: StoredRun
    runs: RunStore

    @cached_property
    def made(self) -> ReverseRun:
        """The reverse stress as it was asked for, before its search."""
        manifest = self.run.manifest
        of, settings = identity_of(self.run, self.runs, None), manifest["settings"]
        request = ReverseRequest(
            run=of.run.run_id,
            plan=of.named.plan.name,
            resources=literal_eval(settings["resources"]),
            defaulters=literal_eval(settings["defaulters"]),
            sample=literal_eval(settings["sample"]),
            runs=self.runs.path,
        )
        made = ReverseRun(request, SerialEngine)
        made.plan(reverse_identity(request, of.run, of.book, of.named, manifest["code_version"]))
        return made

    def inputs(self) -> list[str]:
        """Hash the book again; return how the run is not what its inputs name.

        Raises:
            BookDamaged: a file of the book is not the one that was written.
        """
        identity, manifest = self.made.identity, self.run.manifest
        identity.book.verify()
        used = inputs_of(identity.run, identity.named, None)
        return [
            *misnamed(self.run, identity.key, identity.book, "reverse-"),
            *unlike_inputs(manifest["inputs"], used),
        ]

    def followed(self) -> list[str]:
        """Return what differs in history, and in what the shocks that are stored come to."""
        made, stored = self.made, self.run.groups["found"].load()
        made.follow(self._found(stored), self._scenarios(stored), SerialEngine())
        other = made_by(self.run.manifest)
        return [
            *unlike("totals", self.run.manifest["totals"], made.totals()),
            *(
                f"{one}{other}"
                for group, again in made.datasets().items()
                for one in apart(group, self.run.groups[group].load(), again, each=AGAIN)
            ),
        ]

    def _found(self, stored: xr.Dataset) -> list[Found]:
        """Return the shocks that are stored, measured again."""
        made, moves = self.made, self.made.moves
        shocks = np.log1p(np.concatenate([stored["price"], stored["volatility"]], axis=1))
        distance, drawn = stored["distance"].values, stored["drawn"].values
        rank = np.linalg.matrix_rank(moves.covariance, rtol=RANK, hermitian=True)
        chance = chance_as_far(distance, rank)
        losses, found = made.losses(SerialEngine()), []
        for row, target in enumerate(made.targets):
            if np.isnan(distance[row]):
                found.append(Found(target, None, float(drawn[row])))
                continue
            loss = target.loss(losses(shocks[row : row + 1]), made.fund).item()
            far = float((moves.distance >= distance[row]).mean())
            again = ReverseStress(shocks[row], distance[row], chance[row], far, loss, 0)
            found.append(Found(target, again))
        return found

    def _scenarios(self, stored: xr.Dataset) -> StressScenarios:
        """Return the shocks that are stored as scenarios at the plan's depth, to the bit."""
        work = self.made.work
        there = stored.isel(target=np.flatnonzero(np.isfinite(stored["distance"].values)))
        names, price = tuple(there["target"].values.tolist()), there["price"].values
        still = np.zeros(price.shape)
        return StressScenarios(
            name=names,
            title=names,
            origin=("reverse",) * len(names),
            depth=np.full(len(names), work.identity.named.plan.depth),
            shocks=Shocks(price, there["volatility"].values, still, still),
            underlyings=work.scenarios.underlyings,
        )
