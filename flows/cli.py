"""The command ``margincube``."""

import os
import signal
import sys

from cyclopts import App

from flows.commands import books, demo, explain, runs, serve
from flows.commands.shared import CONSOLE, MESSAGES
from storage.locks import AlreadyLocked
from storage.quarantine import DatasetRefused
from workers.fold import IncompleteRun

EXIT_MISTAKE = 2
EXIT_REFUSED = 3
EXIT_BUSY = 4
EXIT_INCOMPLETE = 5

app = App(
    name="margincube",
    help="Portfolio margin for millions of accounts, revalued over a scenario cube.",
    version_flags=["--version"],
    console=CONSOLE,
    error_console=MESSAGES,
    help_epilogue=(
        "Exit codes: 0 done, 1 a fault of the program, 2 a mistake in what was asked, "
        "3 input refused, 4 another process is at it, 5 a run that is not whole, 130 interrupted."
    ),
)
app.command(demo.demo)
app.command(books.app, name="book")
app.command(runs.run)
app.command(runs.runs)
app.command(runs.show)
app.command(explain.explain)
app.command(runs.report)
app.command(runs.export)
app.command(serve.serve)


def main() -> None:
    """Run a command; a user's mistake ends in a sentence, never in a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except DatasetRefused as error:
        _fail(error, EXIT_REFUSED)
    except AlreadyLocked as error:
        _fail(error, EXIT_BUSY)
    except IncompleteRun as error:
        _fail(error, EXIT_INCOMPLETE)
    except (ValueError, KeyError, OSError) as error:
        _fail(error, EXIT_MISTAKE)
    except KeyboardInterrupt:
        MESSAGES.print("interrupted; what was finished is kept, the same command goes on from it")
        sys.exit(130)


def _fail(error: Exception, code: int) -> None:
    if os.environ.get("MARGINCUBE_DEBUG"):
        raise error
    MESSAGES.print(f"[bold red]error:[/] {type(error).__name__}", highlight=False)
    MESSAGES.print(str(error), markup=False, highlight=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
