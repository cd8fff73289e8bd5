"""Files that are small on disk and endless when read, and names that lead out of a folder."""

import json
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from storage.book import Book
from storage.dataset.manifest import content_digest
from storage.intake import layout
from storage.intake.rows import read_batches
from storage.quarantine import DatasetRefused, Findings
from storage.tables import MARGIN_MODES
from tests.storage.claim_files import small_book

MEGABYTE = 1 << 20


def accounts(name: pa.Array) -> pa.Table:
    rows = len(name)
    mode = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(MARGIN_MODES[:1]))
    member = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["m"]))
    return pa.table({"account": name, "member": member, "margin_mode": mode})


def refused(path: Path) -> str:
    """Read a file of accounts, and return by what it is refused; memory must not grow by it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DatasetRefused) as refusal:
        for _ in read_batches(path, layout.ACCOUNTS, Findings()):
            pass
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024  # kilobytes
    return str(refusal.value)


def test_a_cell_of_a_megabyte_repeated_a_million_times(tmp_path: Path) -> None:
    rows = np.zeros(1_000_000, np.int32)
    path = tmp_path / "accounts.parquet"
    long = pa.DictionaryArray.from_arrays(rows, pa.array(["x" * MEGABYTE]))
    pq.write_table(accounts(long), path, compression="zstd")
    assert path.stat().st_size < MEGABYTE  # and a million megabytes when it is read
    assert "CELL_TOO_LONG in accounts" in refused(path)


def test_more_rows_than_a_file_could_name(tmp_path: Path) -> None:
    path = tmp_path / "accounts.parquet"
    rows = pa.DictionaryArray.from_arrays(np.zeros(1 << 21, np.int32), pa.array(["x"]))
    pq.write_table(accounts(rows), path, compression="zstd")
    assert "DATASET_TOO_LARGE in accounts" in refused(path)


def test_a_million_rows_of_few_members_are_read(tmp_path: Path) -> None:
    path = tmp_path / "accounts.parquet"
    pq.write_table(accounts(pa.array(np.arange(1 << 17)).cast(pa.string())), path)
    (batch,) = read_batches(path, layout.ACCOUNTS, Findings())
    assert batch.table.num_rows == 1 << 17


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_cell_that_swallowed_what_follows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"accounts{suffix}"
    table = pa.table(
        {"account": ["a", "b\n" * 1_000], "member": ["m"] * 2, "margin_mode": ["x"] * 2}
    )
    if suffix == ".csv":
        pacsv.write_csv(table, path)
    else:
        pq.write_table(table, path, use_dictionary=False)
    message = refused(path)
    assert "CELL_TOO_LONG in accounts" in message
    assert len(message) < 1_000


@pytest.mark.parametrize(
    "name",
    ["../../escaped.parquet", "/tmp/escaped.parquet", "a/../../b.parquet", "a\\b.parquet", "x"],
)
def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path, name) -> None:
    folder = small_book(tmp_path / "book").path
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"rows": 1, "bytes": 1, "sha256": "0" * 64}
    manifest["digest"] = content_digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Book.kind.damaged, match="is no file of a dataset"):
        Book.open(folder)


def test_nothing_from_outside_is_unpickled() -> None:
    """No reader of ours could run code that a file brings."""
    root = Path(__file__).parents[2]
    sources = [
        path
        for folder in ("risk", "storage", "workers", "flows")
        for path in (root / folder).rglob("*.py")
    ]
    assert len(sources) > 100
    for path in sources:
        text = path.read_text()
        for word in ("allow_pickle", "import pickle", "np.load(", "import yaml", "import marshal"):
            assert word not in text, (path, word)
