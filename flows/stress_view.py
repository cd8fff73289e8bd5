"""A published stress run as its report sees it."""

from pathlib import Path

from flows.report.stress.view import ReverseView, StressView
from flows.stores import is_there
from risk.systemic.plan import parse_stress_plan
from storage.arrays import STRESS_SCENARIOS
from storage.objects import S3Folder
from storage.runs import StoredRun
from workers.reverse.request import reverse_store


class StressOutdated(ValueError):
    """A stress run is of code that stored less than its page shows."""


def newest_reverse(reverses: Path | S3Folder, run: StoredRun) -> StoredRun | None:
    """Return the newest reverse stress of the margin run and by the plan of a stress run."""
    if not is_there(reverses):
        return None
    store, inputs = reverse_store(reverses), run.manifest["inputs"]
    for manifest in store.manifests():
        if all(
            manifest["inputs"][what]["digest"] == inputs[what]["digest"] for what in ("run", "plan")
        ):
            return store.read(manifest["run_id"])
    return None


def stress_view(run: StoredRun, reverse: StoredRun | None = None) -> StressView:
    """Return what the report draws of a stress run, and of a reverse stress beside it.

    Raises:
        StressOutdated: the run was published without an array that the report draws.
    """
    missing = [one.name for one in STRESS_SCENARIOS if one.name not in run.groups["scenarios"]]
    if missing:
        margined = run.manifest["inputs"]["run"]["run_id"]
        raise StressOutdated(
            f"stress run {run.run_id} was published by code {run.manifest['code_version']}, which "
            f"did not store {', '.join(missing)}; a page needs that: stress the margin run again "
            f"by `margincube stress {margined}`"
        )
    return StressView(
        run_id=run.run_id,
        manifest=run.manifest,
        scenarios=run.groups["scenarios"].load(),
        totals=run.groups["totals"].load(),
        moves=run.groups["plan"].load(),
        rules=parse_stress_plan(run.manifest["inputs"]["plan"]["text"]),
        network=run.groups["network"].load(),
        reverse=None
        if reverse is None
        else ReverseView(
            manifest=reverse.manifest,
            found=reverse.groups["found"].load(),
            history=reverse.groups["history"].load(),
        ),
    )
