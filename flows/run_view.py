"""A published run as the report sees it."""

from flows.report.view import RunView
from storage.runs import Run


def run_view(run: Run) -> RunView:
    """Return what the report draws of a run."""
    return RunView(
        run_id=run.run_id,
        manifest=run.manifest,
        folds=run.folds.load(),
        scenarios=run.scenarios.load(),
        mark_error=run.market.load(),
    )
