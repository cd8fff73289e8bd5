"""Parquet files that are small on disk and endless when they are read: found before they are."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.quarantine import Finding, Findings

LONGEST_CELL = 1_024
"""Bytes of a name or a number as text."""

FEW_ROWS = 1_000_000
"""Rows that any file may have."""

ROWS_A_BYTE = 64
"""Rows for each byte of a larger file; rows have names, and names do not pack that well."""


def check_unpacked(
    path: Path, metadata: pq.FileMetaData, texts: Sequence[str], dataset: str, findings: Findings
) -> bool:
    """Record what a file would unpack to beyond all reason; return whether it can be read.

    A page that is not of a dictionary has the bytes of its cells, which the file declares; one of a
    dictionary may repeat a cell of a megabyte a million times, so dictionaries are looked at.
    """
    size = path.stat().st_size
    rows = metadata.num_rows
    if rows > max(FEW_ROWS, ROWS_A_BYTE * size):
        value = f"{path.name} has {size:,} bytes and says {rows:,} rows"
        findings.add(Finding.of("DATASET_TOO_LARGE", dataset, value=value))
        return False
    for name in texts:
        longest = _longest_of_dictionaries(path, metadata, name)
        if longest > LONGEST_CELL:
            value = f"{longest:,} bytes, in {path.name}"
            findings.add(Finding.of("CELL_TOO_LONG", dataset, field=name, value=value))
            return False
    return True


def _longest_of_dictionaries(path: Path, metadata: pq.FileMetaData, name: str) -> int:
    """Return the bytes of the longest cell that a dictionary of a column holds."""
    place = metadata.schema.names.index(name)
    groups = [
        group
        for group in range(metadata.num_row_groups)
        if (chunk := metadata.row_group(group).column(place)).has_dictionary_page
        and chunk.total_uncompressed_size > LONGEST_CELL
    ]
    longest = 0
    with pq.ParquetFile(path, read_dictionary=[name], page_checksum_verification=True) as file:
        for group in groups:
            # The first row brings the dictionary of its row group with it.
            first = next(file.iter_batches(batch_size=1, row_groups=[group], columns=[name]), None)
            if first is not None and pa.types.is_dictionary(first.column(0).type):
                length = pc.binary_length(first.column(0).dictionary)
                longest = max(longest, pc.max(length).as_py() or 0)
    return longest
