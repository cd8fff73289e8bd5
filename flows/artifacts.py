"""Tables that a flow leaves where Prefect's pages show them."""

from typing import Any

from prefect.artifacts import create_table_artifact


def leave_totals(kind: str, manifest: dict[str, Any]) -> None:
    """Leave the totals of a run, and where its time went."""
    run_id = manifest["run_id"]
    create_table_artifact(
        [
            {"total": name, "value": value}
            for name, value in manifest["totals"].items()
            if not isinstance(value, dict)
        ],
        key=f"{kind}-totals",
        description=f"Totals of {kind} run {run_id}; money in USD",
    )
    create_table_artifact(
        manifest["stages"],
        key=f"{kind}-stages",
        description=f"Where the time of run {run_id} went; seconds",
    )
