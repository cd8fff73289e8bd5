"""The command ``serve``: the flow on a schedule."""

from flows.commands.shared import CONSOLE
from flows.settings import quiet_prefect


def serve(
    book: str,
    *,
    cron: str = "0 * * * *",
    name: str = "scheduled",
    methodology: str | None = None,
) -> None:
    """Serve the flow ``margin_run`` for a book on a schedule, until interrupted.

    A Prefect server must be reachable, by the usual setting ``PREFECT_API_URL``.

    Args:
        book: name or folder of the book
        cron: when to run, in UTC
        name: name of the deployment
        methodology: name of a shipped methodology, or a TOML file
    """
    quiet_prefect()
    from flows.margin_run import RunParameters, margin_run

    given = {"book": book} | ({"methodology": methodology} if methodology else {})
    parameters = RunParameters(**given)
    CONSOLE.print(f"serving margin_run of {book} at '{cron}' UTC; stop it with Ctrl-C")
    margin_run.serve(
        name=name, cron=cron, parameters={"parameters": parameters.model_dump(mode="json")}
    )
