"""The command ``margincube``."""

import atexit
import os
import signal
import sys
from types import FrameType

from cyclopts import App
from pydantic import ValidationError

from flows.commands import (
    approve,
    audit,
    backup,
    books,
    calls,
    claims,
    collateral,
    compare,
    conformance,
    demo,
    diff,
    explain,
    history,
    keys,
    markets,
    methodologies,
    proofs,
    quarantine,
    runs,
    serve,
    stress,
    verify,
    what_if,
)
from flows.commands.shared import CONSOLE, MESSAGES
from flows.ending import EXIT_ENDED, watch_signals

EXIT_MISTAKE = 2
EXIT_REFUSED = 3
EXIT_BUSY = 4
EXIT_INCOMPLETE = 5

INTERRUPTED = "interrupted; what was finished is kept, the same command goes on from it"

app = App(
    name="margincube",
    help="Portfolio margin for millions of accounts, revalued over a scenario cube.",
    version_flags=["--version"],
    console=CONSOLE,
    suppress_keyboard_interrupt=False,
    error_console=MESSAGES,
    help_epilogue=(
        "Exit codes: 0 done, 1 a fault of the program or a number that is not found again, "
        "2 a mistake in what was asked, 3 input refused, 4 another process is at it, "
        "5 a run that is not whole, 6 requirements that no plan meets, 130 interrupted, "
        "143 ended from outside."
    ),
)
app.command(demo.demo)
app.command(books.app, name="book")
app.command(markets.app, name="market")
app.command(claims.app, name="claims")
app.command(collateral.app, name="collateral")
app.command(stress.app, name="stress")
app.command(methodologies.methodologies)
app.command(runs.run)
app.command(runs.runs)
app.command(runs.show)
app.command(explain.explain)
app.command(what_if.what_if)
app.command(calls.calls)
app.command(compare.compare)
app.command(runs.report)
app.command(runs.export)
app.command(conformance.conformance)
app.command(proofs.app, name="proofs")
app.command(serve.serve)
app.command(approve.approve)
app.command(audit.audit)
app.command(keys.app, name="keys")
app.command(keys.verify_signature)
app.command(verify.verify)
app.command(diff.diff)
app.command(backup.backup)
app.command(backup.restore)
app.command(quarantine.quarantine)
app.command(history.tag)
app.command(history.untag)
app.command(history.rollback)
app.command(history.clean)


def main() -> None:
    """Run a command; a user's mistake ends in a sentence, never in a traceback."""
    signal.signal(signal.SIGTERM, _end)
    watch_signals()
    try:
        app()
    except KeyboardInterrupt:
        MESSAGES.print(INTERRUPTED)
        sys.exit(130)
    except SystemExit as end:
        if end.code == EXIT_ENDED:
            MESSAGES.print(INTERRUPTED)
        raise
    except Exception as error:
        code = _exit_code(error)
        if code is None or os.environ.get("MARGINCUBE_DEBUG"):
            raise
        MESSAGES.print(f"[bold red]error:[/] {type(error).__name__}", highlight=False)
        MESSAGES.print(_sentence(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(code)
    finally:
        _leave_terminal_alone()


def _end(number: int, _: FrameType | None) -> None:
    """Leave, and give back on the way what is held, however long that takes."""
    # A second signal would break into it, and so would the alarm that Ray sets at the first.
    signal.signal(number, signal.SIG_IGN)
    signal.alarm(0)
    sys.exit(EXIT_ENDED)


def _leave_terminal_alone() -> None:
    """Keep the end of the process from writing to the terminal after the last line.

    Numba and Ray set up colours with colorama, which resets them at exit.
    """
    colorama = sys.modules.get("colorama")
    if colorama is not None:
        atexit.unregister(colorama.initialise.reset_all)


def _exit_code(error: Exception) -> int | None:
    """Return what an outcome that has a name exits with, or nothing for a fault of the program."""
    # A bare KeyError is nobody's message to a user.
    if isinstance(error, ValueError | KeyError | OSError) and type(error) is not KeyError:
        return EXIT_MISTAKE
    # What is too large, or too deep, came from outside.
    if isinstance(error, OverflowError | RecursionError):
        return EXIT_MISTAKE
    # A command that needs none of these starts in half the time.
    from flows.embedded import ServerGone
    from risk.proofs.outcome import ProofRefused
    from storage.audit import AuditBroken
    from storage.faults import StoreFault
    from storage.locks import AlreadyLocked
    from storage.manifests import ManifestDamaged
    from storage.quarantine import DatasetRefused
    from storage.signature import RunUnsigned, SignatureRefused
    from workers.approval import ModelNotApproved
    from workers.engine import TaskLost, WorkersDiffer
    from workers.fold import IncompleteRun
    from workers.quarantine import TooMuchHeldBack

    kinds: tuple[tuple[type[Exception], int], ...] = (
        (DatasetRefused, EXIT_REFUSED),
        (ModelNotApproved, EXIT_REFUSED),
        (AuditBroken, EXIT_REFUSED),
        (ManifestDamaged, EXIT_REFUSED),
        (RunUnsigned, EXIT_REFUSED),
        (SignatureRefused, EXIT_REFUSED),
        (ProofRefused, EXIT_REFUSED),
        (TooMuchHeldBack, EXIT_REFUSED),
        (AlreadyLocked, EXIT_BUSY),
        (IncompleteRun, EXIT_INCOMPLETE),
        (ServerGone, EXIT_INCOMPLETE),
        (TaskLost, EXIT_INCOMPLETE),
        (MemoryError, EXIT_INCOMPLETE),
        (StoreFault, EXIT_INCOMPLETE),
        (WorkersDiffer, EXIT_MISTAKE),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), None)


def _sentence(error: Exception) -> str:
    """Return what an error says; of a refused model, its fields one by one."""
    if isinstance(error, MemoryError):
        return f"{error or 'out of memory'}; take smaller shards by --shards, and run it again"
    if not isinstance(error, ValueError | OSError):
        from storage.faults import StoreFault, sentence

        if isinstance(error, StoreFault):
            return sentence(error)
    if not isinstance(error, ValidationError):
        return str(error)
    return "\n".join(
        ": ".join(
            part
            for part in (
                ".".join(str(part) for part in one["loc"]),
                one["msg"].removeprefix("Value error, ") + _got(one["type"], one["input"]),
            )
            if part
        )
        for one in error.errors()
    )


def _got(kind: str, value: object) -> str:
    """Return what was given, unless it is all that a field is missing from, or named already."""
    whole = isinstance(value, dict) or kind in ("missing", "value_error")
    return "" if whole else f", got {value!r}"


if __name__ == "__main__":
    main()
