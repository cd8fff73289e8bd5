"""A published run as the report sees it."""

from flows.report.view import RunView
from risk.margin import measures_of
from storage.runs import Run
from workers.methodologies import methodology_of


def run_view(run: Run) -> RunView:
    """Return what the report draws of a run."""
    scenarios, methodology = run.scenarios.load(), methodology_of(run)
    return RunView(
        run_id=run.run_id,
        manifest=run.manifest,
        folds=run.folds.load(),
        scenarios=scenarios,
        mark_error=run.market.load(),
        measures=measures_of(methodology, scenarios["origin"].values.tolist()),
        in_coin=methodology.scan is not None and methodology.scan.in_settlement_currency,
    )
