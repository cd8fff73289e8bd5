"""A published collateral run as its report sees it."""

import numpy as np

from flows.report.collateral.view import PoolView
from risk.claims.rules import parse_pool_rules
from storage.runs import StoredRun


def pool_view(run: StoredRun) -> PoolView:
    """Return what the report draws of a collateral run."""
    totals = run.groups["totals"].load()
    listed = np.unique(
        np.concatenate(
            [totals[f"top_{name}_account"].values for name in ("shortfall", "change")]
        ).astype(np.int64)
    )
    listed = listed[listed >= 0]
    return PoolView(
        run_id=run.run_id,
        manifest=run.manifest,
        totals=totals,
        tokens=run.groups["tokens"].load(),
        scenarios=run.groups["scenarios"].drop_vars("pnl").load(),
        findings=run.groups["findings"].load(),
        accounts=run.groups["accounts"].isel(account=listed).assign_coords(account=listed).load(),
        rules=parse_pool_rules(run.manifest["inputs"]["rules"]["text"]),
    )
