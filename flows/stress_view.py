"""A published stress run as its report sees it."""

from pathlib import Path

from flows.report.stress.view import ReverseView, StressView
from risk.systemic.plan import parse_stress_plan
from storage.objects import S3Folder
from storage.runs import StoredRun
from workers.reverse.request import reverse_store


def newest_reverse(reverses: Path | S3Folder, run: StoredRun) -> StoredRun | None:
    """Return the newest reverse stress of the margin run and by the plan of a stress run."""
    if isinstance(reverses, Path) and not reverses.is_dir():
        return None
    store, inputs = reverse_store(reverses), run.manifest["inputs"]
    for manifest in store.manifests():
        if all(
            manifest["inputs"][what]["digest"] == inputs[what]["digest"] for what in ("run", "plan")
        ):
            return store.read(manifest["run_id"])
    return None


def stress_view(run: StoredRun, reverse: StoredRun | None = None) -> StressView:
    """Return what the report draws of a stress run, and of a reverse stress beside it."""
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
