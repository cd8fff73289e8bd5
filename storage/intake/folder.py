"""The files of a folder from outside: found, read, and counted."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.intake import checks
from storage.intake.checks import Rows
from storage.intake.layout import InputTable
from storage.intake.rows import Batch, locate, read_batches, read_table
from storage.quarantine import Findings

Progress = Callable[[str, int], None]
"""Called with the dataset being read and its rows so far."""


@dataclass(frozen=True, slots=True)
class DatasetCount:
    """Rows of one dataset: ``rows`` is always ``accepted + quarantined``."""

    dataset: str
    rows: int
    accepted: int
    quarantined: int


def locate_all(
    folder: Path, inputs: Iterable[InputTable], findings: Findings
) -> dict[str, Path | None]:
    """Return the file of each dataset, None where an optional one is not there.

    Raises:
        DatasetRefused: a required one is missing, or there are two files of one.
    """
    files = {table.name: locate(folder, table, findings) for table in inputs}
    findings.raise_if_refused()
    return files


def count_rows(rows: Rows) -> DatasetCount:
    """Return how many rows of a dataset came in, and what became of them."""
    bad = int(rows.bad.sum())
    return DatasetCount(rows.layout.name, len(rows), len(rows) - bad, bad)


@dataclass(frozen=True, slots=True)
class FolderReader:
    """Reads the datasets of a folder, cell by cell, and tells how far it is."""

    files: Mapping[str, Path | None]
    findings: Findings
    progress: Progress

    def whole(self, table: InputTable) -> Rows | None:
        """Read a dataset at once, or None where there is no file of it."""
        path = self.files[table.name]
        if path is None:
            return None
        rows = checks.read(Batch(read_table(path, table, self.findings), 1), table, self.findings)
        self.progress(table.name, len(rows))
        return rows

    def needed(self, table: InputTable) -> Rows:
        """Read a dataset whose file is known to be there."""
        rows = self.whole(table)
        assert rows is not None
        return rows

    def batches(self, table: InputTable) -> Iterator[Rows]:
        """Yield the batches of a dataset, read."""
        path = self.files[table.name]
        assert path is not None
        for batch in read_batches(path, table, self.findings):
            rows = checks.read(batch, table, self.findings)
            yield rows
            self.progress(table.name, batch.first_line + len(rows) - 1)
