"""A collateral run made again from its inputs: claims, tokens, sums, and a block of accounts.

By the same code as the run: it finds what was changed in storage, and not what the code has wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from storage.arrays import POOL
from storage.digest import text_digest
from storage.runs import RunStore, StoredRun
from workers.engine import SerialEngine
from workers.pool.fold import fold_pool, lacking
from workers.pool.manifest import inputs_of, totals_of
from workers.pool.results import pool_datasets
from workers.pool.run import task_inputs
from workers.pool.source import PoolSource, source_again
from workers.pool.tasks import pool_arrays
from workers.shards import Shard
from workers.verify.checks import apart, made_by, misnamed, unlike, unlike_inputs


@dataclass
class PooledAgain:
    """A published collateral run, and the store of its margin run."""

    run: StoredRun
    runs: RunStore

    @cached_property
    def source(self) -> PoolSource:
        """Its inputs, and what claims and tokens come to when looked at anew."""
        return source_again(self.run, self.runs.path)

    def inputs(self) -> list[str]:
        """Hash book and claims again; return how the run is not what its inputs name.

        Raises:
            BookDamaged: a file of the book is not the one that was written.
            ClaimsDamaged: a file of the claims is not the one that was written.
            InputsChanged: the margin run or the claims are not those that the run used.
        """
        plan, manifest = self.source.plan, self.run.manifest
        plan.book.verify()
        plan.claims.verify()
        key = text_digest(
            plan.identity.run.manifest["digest"],
            plan.claims.digest,
            plan.identity.named.digest,
            manifest["code_version"],
        )
        return [
            *misnamed(self.run, key, plan.book, "pool-"),
            *unlike_inputs(manifest["inputs"], inputs_of(plan)),
        ]

    def sums(self, store: RunStore) -> list[str]:
        """Return where what is published of the whole is not what accounts and blocks sum to."""
        source, plan = self.source, self.source.plan
        stored, blocks = (store.rows(self.run.run_id, name) for name in ("accounts", "blocks"))
        sums = fold_pool(plan.book.accounts, stored, blocks, SerialEngine()).sums
        missing = lacking(
            sums,
            accounts=plan.book.accounts,
            claims=plan.claims.claims,
            by_outcome=source.counted.by_outcome,
        )
        again = pool_datasets(plan, source.counted, source.valued, sums)
        return [
            *(f"sums: {one}" for one in missing),
            *unlike("totals", self.run.manifest["totals"], totals_of(plan, source.counted, sums)),
            *(
                one
                for group, dataset in again.items()
                for one in self._apart(group, self.run.groups[group], dataset)
            ),
        ]

    def block(self, block: Shard) -> list[str]:
        """Return where a block of accounts, and its sums, are others when they are made again."""
        source = self.source
        inputs = task_inputs(source.plan, source.counted, source.valued, self.runs.path)
        accounts, blocks = pool_arrays(inputs, block)
        one = self.run.groups["accounts"].isel(account=slice(block.start, block.stop))
        other = self.run.groups["blocks"].isel(block=[block.index])
        return [
            *self._apart("accounts", one, self._labelled("accounts", accounts)),
            *self._apart("blocks", other, self._labelled("blocks", blocks)),
        ]

    def _labelled(self, group: str, arrays: Mapping[str, NDArray[np.generic]]) -> xr.Dataset:
        variables = POOL.written[group]
        labels: Mapping[str, Sequence[str]] = self.source.plan.layout.labels
        dims = {dim for one in variables for dim in one.dims}
        return xr.Dataset(
            {one.name: (one.dims, arrays[one.name]) for one in variables},
            coords={dim: np.array(list(labels[dim]), object) for dim in dims & labels.keys()},
        )

    def _apart(self, group: str, stored: xr.Dataset, again: xr.Dataset) -> list[str]:
        other = made_by(self.run.manifest)
        return [f"{one}{other}" for one in apart(group, stored.load(), again)]
