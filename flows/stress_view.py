"""A published stress run as its report sees it."""

from flows.report.stress.view import StressView
from risk.systemic.plan import parse_stress_plan
from storage.runs import StoredRun


def stress_view(run: StoredRun) -> StressView:
    """Return what the report draws of a stress run."""
    return StressView(
        run_id=run.run_id,
        manifest=run.manifest,
        scenarios=run.groups["scenarios"].load(),
        totals=run.groups["totals"].load(),
        moves=run.groups["plan"].load(),
        rules=parse_stress_plan(run.manifest["inputs"]["plan"]["text"]),
        network=run.groups["network"].load(),
    )
