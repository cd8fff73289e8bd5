"""Signs of life: the stage that runs, how far it is, how fast, and how long it will take."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from workers.stages import Observer, Silent

_OBSERVER: ContextVar[Observer | None] = ContextVar("observer", default=None)


def observer() -> Observer:
    """Return who is to be told of progress here."""
    return _OBSERVER.get() or Silent()


@contextmanager
def observing(watcher: Observer) -> Iterator[None]:
    """Tell ``watcher`` of the progress of everything that runs in this context."""
    token = _OBSERVER.set(watcher)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


class _Count(ProgressColumn):
    """Items done and their rate, and the time left once there is enough to tell."""

    def render(self, task: Task) -> Text:
        if not task.total or task.total == 1:
            return Text("")
        text = f"{task.completed:,.0f} {task.fields['unit']}"
        speed = task.finished_speed or task.speed
        if speed:
            text += f", {speed:,.0f}/s"
        if task.time_remaining and task.elapsed and task.elapsed > 2.0:
            text += f", {task.time_remaining:,.0f} s left"
        return Text(text)


class TerminalProgress:
    """Draws one line for each stage; the last one moves.

    Where the output is no terminal, a line says when each stage begins and when it ends.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running = False
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            _Count(table_column=Column(no_wrap=True)),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "TerminalProgress":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        self._progress.stop()

    def begin(self, stage: str, total: int, unit: str) -> None:
        """Add the line of a stage; one that still waits has come to its end."""
        self.end()
        self._running = True
        self._task = self._progress.add_task(stage, total=max(total, 1), unit=unit)
        counted = f", {total:,} {unit}" if total > 1 else ""
        self._say(f"{stage}{counted} ...")

    def advance(self, items: int) -> None:
        """Move its bar."""
        self._progress.advance(self._task, items)

    def reach(self, items: int) -> None:
        """Move its bar to so many items done."""
        self._progress.update(self._task, completed=items)

    def end(self) -> None:
        """Fill its bar; what was announced gives way to what was done."""
        if not self._running:
            return
        self._running = False
        task = self._progress.tasks[self._task]
        done = task.completed or 1.0
        self._progress.update(self._task, completed=done, total=done)
        self._say(f"{task.description}: done in {task.elapsed or 0.0:.1f} s")

    def _say(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line, highlight=False, markup=False)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show a stage that cannot be measured while the body runs."""
        self.begin(what, 1, "")
        try:
            yield
        finally:
            self.end()
