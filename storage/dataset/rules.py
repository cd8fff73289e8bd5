"""What every table of a dataset must satisfy before it is written."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.dataset.kind import Kind
from storage.tables import Column, Table

HELD_TABLE = Table(
    "held",
    ("account",),
    (
        Column("account", pa.int32(), "row of an account that is held back, ascending"),
        Column("code", pa.string(), "why, as in the quarantine"),
    ),
)


def conform(table: pa.Table, declared: Table, kind: Kind) -> pa.Table:
    """Return a table with exactly the declared columns, one chunk each.

    Raises:
        kind.refused: ``SCHEMA_DRIFT`` where a column is missing or has another type, and
            ``VALUE_MISSING`` where a value that must be there is null.
    """
    for column in declared.columns:
        if column.name not in table.column_names:
            raise kind.refused(
                f"SCHEMA_DRIFT: {declared.name} has no column {column.name!r} ({column.type}); "
                f"it has {table.column_names}"
            )
        found = table.schema.field(column.name).type
        if found != column.type:
            raise kind.refused(
                f"SCHEMA_DRIFT: {declared.name}.{column.name} is {found}, declared {column.type}"
            )
        if not column.nullable and table[column.name].null_count:
            row = pc.index(table[column.name].is_null(), True).as_py()
            raise kind.refused(f"VALUE_MISSING: {declared.name}.{column.name} is null in row {row}")
    return table.select(declared.schema.names).cast(declared.schema).combine_chunks()


def numbers(table: pa.Table, column: str) -> NDArray[Any]:
    """Return a column without nulls as an array, without a copy where it is one chunk."""
    values = table[column]
    if values.num_chunks == 1:
        return np.asarray(values.chunk(0).to_numpy(zero_copy_only=False))
    return np.asarray(values.to_numpy())


def unique(table: pa.Table, declared: Table, kind: Kind) -> None:
    """Raise ``DUPLICATE_KEY`` if two rows have the same key."""
    keys = list(declared.key)
    count = table.group_by(keys).aggregate([([], "count_all")])
    twice = count.filter(pc.greater(count["count_all"], 1))
    if len(twice):
        first = twice.slice(0, 1).select(keys).to_pylist()[0]
        raise kind.refused(
            f"DUPLICATE_KEY: {declared.name} lists {first} {twice['count_all'][0]} times"
        )


def in_range(
    table: pa.Table, column: str, size: int, dataset: str, kind: Kind, *, first: int = 0
) -> None:
    """Raise ``UNKNOWN_...`` if a code does not point at one of ``size`` rows.

    ``first`` is -1 where that says "none".
    """
    codes = numbers(table, column)
    if len(codes) and (codes.min() < first or codes.max() >= size):
        seen = codes[(codes < first) | (codes >= size)][0]
        raise kind.refused(
            f"UNKNOWN_{column.upper()}: {dataset}.{column} {seen}; allowed is {first} to {size - 1}"
        )


def every(
    allowed: NDArray[np.bool_],
    code: str,
    field: str,
    values: NDArray[Any],
    rule: str,
    kind: Kind,
) -> None:
    """Raise an error with the code if a value is not allowed; the message says which row's."""
    if not allowed.all():
        row = int(np.argmin(allowed))
        raise kind.refused(f"{code}: {field} {values[row]} in row {row}; allowed is {rule}")
