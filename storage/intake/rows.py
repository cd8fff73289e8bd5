"""Files from outside as batches of columns: CSV or Parquet, whatever it takes to read them safely.

Every cell of a CSV arrives as bytes and every cell of a Parquet file as text, except instants
that a Parquet file types as timestamps: what a cell means is decided in one place, ``cells``.
"""

import csv
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from storage.intake.bombs import LONGEST_CELL, check_unpacked
from storage.intake.layout import InputColumn, InputTable
from storage.quarantine import Finding, Findings

CSV_BLOCK_BYTES = 1 << 25
PARQUET_BATCH_ROWS = 1 << 19
EXACT_FLOATS = 2.0**53
_NARROW = (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.float32())
_HEADER_BYTES = 1 << 16
_MISSHAPEN = re.compile(
    r"(?:Row #(?P<row>\d+): )?Expected (?P<wanted>\d+) columns, got (?P<seen>\d+): (?P<content>.*)"
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file: declared columns only, and the number of the first row, from 1."""

    table: pa.Table
    first_line: int


def locate(folder: Path, layout: InputTable, findings: Findings) -> Path | None:
    """Return the file of a dataset, or None with a finding where a required one is missing."""
    found = [
        path
        for suffix in (".csv", ".parquet")
        if (path := folder / (layout.name + suffix)).exists()
    ]
    if len(found) == 1:
        return found[0]
    if found or layout.required:
        seen = " and ".join(path.name for path in found) or "no file"
        findings.add(Finding.of("DATASET_MISSING", layout.name, value=f"{seen} in {folder}"))
    return None


def read_batches(path: Path, layout: InputTable, findings: Findings) -> Iterator[Batch]:
    """Yield the rows of a file, its declared columns as text or timestamps.

    Raises:
        DatasetRefused: the file cannot be read, or its columns are not the declared ones.
    """
    reader = _read_csv if path.suffix == ".csv" else _read_parquet
    own = Findings()  # a refusal of another dataset must not stop this one from being read
    rows = 0
    try:
        for table in reader(path, layout, own):
            if own.refused:
                break
            if table.num_rows:
                yield Batch(table, rows + 1)
                rows += table.num_rows
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        own.add(_unreadable(error, path, layout))
    if rows == 0 and not own.refused:
        own.add(Finding.of("EMPTY_INPUT", layout.name, value=f"{path.name} has no rows"))
    findings.extend(own)
    if own.refused:
        findings.raise_if_refused()


def read_table(path: Path, layout: InputTable, findings: Findings) -> pa.Table:
    """Return a whole small file as one table of text and timestamp columns."""
    return pa.concat_tables(batch.table for batch in read_batches(path, layout, findings))


def from_table(table: pa.Table, layout: InputTable, findings: Findings) -> Batch:
    """Return a table that is in memory as if it had been read from a Parquet file.

    Raises:
        DatasetRefused: its columns are not the declared ones.
    """
    if _check_header(table.column_names, layout, findings):
        _check_types(table.schema, layout, findings)
    findings.raise_if_refused()
    return Batch(_completed(table, layout, findings), 1)


def _read_csv(path: Path, layout: InputTable, findings: Findings) -> Iterator[pa.Table]:
    header = _csv_header(path, layout, findings)
    if header is None or not _check_header(header, layout, findings):
        return
    present = [column.name for column in layout.columns if column.name in header]
    with pacsv.open_csv(
        path,
        # One thread, or the number of a misshapen row is not known.
        read_options=pacsv.ReadOptions(use_threads=False, block_size=CSV_BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types={name: pa.binary() for name in header}, include_columns=present
        ),
    ) as reader:
        for batch in reader:
            yield _completed(pa.Table.from_batches([batch]), layout, findings)


def _csv_header(path: Path, layout: InputTable, findings: Findings) -> list[str] | None:
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    if not start.strip():
        findings.add(Finding.of("EMPTY_INPUT", layout.name, value=f"{path.name} is empty"))
        return None
    try:
        lines = start.decode("utf-8-sig", errors="strict" if len(start) < 4 else "replace")
    except UnicodeDecodeError:
        lines = "\ufffd"
    first = lines.splitlines()[0]
    if "\ufffd" in first or "\0" in first:
        findings.add(
            Finding.of(
                "ENCODING",
                layout.name,
                field="header",
                value=ascii(first[:80]),
                severity="refuse",
                allowed="UTF-8",
                action="save the file as UTF-8",
            )
        )
        return None
    return next(csv.reader([first]), [])


def _unreadable(error: Exception, path: Path, layout: InputTable) -> Finding:
    """Return the finding of an error that a reader raised."""
    reason = str(error).splitlines()[0]
    shape = _MISSHAPEN.search(str(error))
    if shape is not None:
        wanted, seen, content = shape["wanted"], shape["seen"], shape["content"]
        return Finding.of(
            "ROW_SHAPE",
            layout.name,
            row=content[:80],
            value=f"{seen} cells where the header has {wanted}",
            line=max(0, int(shape["row"] or 1) - 1),
        )
    if "Empty CSV" in reason:
        return Finding.of("EMPTY_INPUT", layout.name, value=f"{path.name} has no rows")
    return Finding.of("DATASET_UNREADABLE", layout.name, value=f"{path.name}: {reason}")


def _read_parquet(path: Path, layout: InputTable, findings: Findings) -> Iterator[pa.Table]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        usable = _check_header(schema.names, layout, findings)
        if not usable or not _check_types(schema, layout, findings):
            return
        present = [column.name for column in layout.columns if column.name in schema.names]
        texts = [name for name in present if _is_text(schema.field(name).type)]
        if not check_unpacked(path, file.metadata, texts, layout.name, findings):
            return
        for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=present):
            yield _completed(pa.Table.from_batches([batch]), layout, findings)


def _completed(table: pa.Table, layout: InputTable, findings: Findings) -> pa.Table:
    """Return the declared columns in order, absent optional ones filled with their default."""
    columns = []
    for column in layout.columns:
        if column.name in table.column_names:
            cells = table[column.name].combine_chunks()
            if _is_text(cells.type):
                _check_lengths(cells, column, layout, findings)
            if column.kind == "quantity" and pa.types.is_floating(cells.type):
                cells = _exact_text(cells, column, layout, findings)
            elif not pa.types.is_timestamp(cells.type) and not _is_text(cells.type):
                cells = cells.cast(pa.string())
        else:
            cells = pa.repeat(pa.scalar(column.default), table.num_rows)
        columns.append(cells)
    return pa.table(columns, names=[column.name for column in layout.columns])


def _check_lengths(
    cells: pa.Array, column: InputColumn, layout: InputTable, findings: Findings
) -> None:
    """Refuse cells that no name or number is as long as; a finding shows how they begin."""
    distinct = cells.dictionary if pa.types.is_dictionary(cells.type) else cells
    length = pc.fill_null(pc.binary_length(distinct), 0)
    longest = pc.max(length).as_py() or 0
    if longest > LONGEST_CELL:
        begin = bytes(distinct[pc.index(length, longest).as_py()].as_buffer()[:40])
        value = f"{longest:,} bytes, beginning {begin.decode(errors='backslashreplace')}"
        findings.add(Finding.of("CELL_TOO_LONG", layout.name, field=column.name, value=value))


def _exact_text(
    cells: pa.Array, column: InputColumn, layout: InputTable, findings: Findings
) -> pa.Array:
    """Return floats as text; from 2^53 on a float may have been another whole number."""
    large = cells.filter(
        pc.and_(pc.greater_equal(pc.abs(cells), EXACT_FLOATS), pc.is_finite(cells))
    )
    if len(large):
        value = f"{len(large):,} floats of 2^53 or more, such as {large[0].as_py():.17g}"
        findings.add(Finding.of("OVERFLOW", layout.name, field=column.name, value=value))
        return cells.cast(pa.string())
    whole = pc.fill_null(pc.equal(pc.floor(cells), cells), False)
    whole = pc.and_(whole, pc.fill_null(pc.is_finite(cells), False))
    integers = pc.if_else(whole, cells, 0.0).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, integers, cells.cast(pa.string()))


def _check_header(header: Sequence[str], layout: InputTable, findings: Findings) -> bool:
    """Record how the columns differ from the declared ones; return whether they can be read."""
    known = {column.name: column for column in layout.columns}
    added = [name for name in header if name not in known]
    absent = [name for name in known if name not in header]
    refused = False
    if len(set(header)) < len(header):
        twice = sorted({name for name in header if list(header).count(name) > 1})
        findings.add(Finding.of("SCHEMA_DRIFT", layout.name, value=f"twice: {', '.join(twice)}"))
        refused = True
    spelled = {name.strip().lower(): name for name in added}
    renamed = {
        name: spelled[close[0]]
        for name in absent
        if (close := difflib.get_close_matches(name, spelled, n=1, cutoff=0.75))
    }
    for name in absent:
        if known[name].required or name in renamed:
            findings.add(_missing_column(known[name], added, renamed.get(name), header, layout))
            refused = True
    for name in added:
        if name not in renamed.values():
            findings.add(Finding.of("SCHEMA_ADDED", layout.name, field=name, value=name))
    return not refused


def _missing_column(
    column: InputColumn,
    added: Sequence[str],
    renamed: str | None,
    header: Sequence[str],
    layout: InputTable,
) -> Finding:
    value = f"no column {column.name}; columns not known: {', '.join(added) or 'none'}"
    action = None
    if renamed is not None:
        action = f"did you mean: rename {renamed} to {column.name}"
    elif len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        action = "separate the cells with commas"
    return Finding.of(
        column.missing_code,
        layout.name,
        field=column.name,
        value=value,
        allowed=f"columns {', '.join(known.name for known in layout.columns)}",
        action=action,
    )


def _check_types(schema: pa.Schema, layout: InputTable, findings: Findings) -> bool:
    refused = False
    for column in layout.columns:
        if column.name not in schema.names:
            continue
        kind = schema.field(column.name).type
        code = _type_code(column, kind)
        if code is not None:
            findings.add(Finding.of(code, layout.name, field=column.name, value=f"type {kind}"))
            refused = True
    return not refused


def _type_code(column: InputColumn, kind: pa.DataType) -> str | None:
    """Return the code of what is wrong with the type of a Parquet column, if anything."""
    if _is_text(kind) or pa.types.is_null(kind):
        return None
    if column.kind == "instant":
        if (pa.types.is_timestamp(kind) and kind.tz is None) or pa.types.is_date(kind):
            return "TZ_MISSING"
        readable = pa.types.is_timestamp(kind) or pa.types.is_integer(kind)
        return None if readable else "SCHEMA_DRIFT"
    if column.kind in ("number", "price", "quantity"):
        if column.name == "decimals" and pa.types.is_integer(kind):
            return None
        if kind in _NARROW or pa.types.is_float16(kind):
            return "DTYPE_NARROW"
        wide = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        return None if wide else "SCHEMA_DRIFT"
    return "SCHEMA_DRIFT"


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )
