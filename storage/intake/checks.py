"""Read the cells of a batch by its layout, and apply checks that are data.

A check is a code, a field and a vectorised predicate over the rows. What it finds is recorded
row by row; rows found by a check that quarantines are set aside.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.intake import cells
from storage.intake.cells import Booleans, Exact, Instants, Numbers, Status
from storage.intake.layout import InputColumn, InputTable
from storage.intake.rows import Batch
from storage.quarantine import CODES, Findings, Severity

HASH_CHARACTERS = 12
REASONS = tuple(CODES)


@dataclass
class Rows:
    """The rows of a batch, read: text, numbers and instants by column, ``(row,)`` each.

    ``bad`` tells which rows are set aside. Values of rows that could not be read are NaN, zero
    or empty, and such rows are bad or their dataset is refused.
    """

    layout: InputTable
    text: dict[str, pa.StringArray]
    lines: NDArray[np.int64]
    findings: Findings
    bad: Booleans
    reason: NDArray[np.int16]  # of rows set aside: which of ``REASONS``
    numbers: dict[str, Numbers] = field(default_factory=dict)
    exact: dict[str, Exact] = field(default_factory=dict)
    instants: dict[str, Instants] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def number(self, column: str) -> NDArray[np.float64]:
        """Return a column as float64, NaN where it is blank or could not be read."""
        return self.numbers[column].values

    def instant(self, column: str) -> NDArray[np.int64]:
        """Return a column as microseconds since 1970, zero where it is blank or not read."""
        return self.instants[column].microseconds

    def has(self, column: str) -> Booleans:
        """Return which cells of a column are not blank."""
        return _booleans(pc.not_equal(self.text[column], ""))

    def is_in(self, column: str, *words: str) -> Booleans:
        """Return which cells hold one of the words."""
        return _booleans(pc.is_in(self.text[column], value_set=pa.array(words, pa.string())))

    def key(self, chosen: NDArray[np.int64]) -> pa.Array:
        """Return the names of some rows: their key columns, joined."""
        parts = [self.text[name].take(pa.array(chosen)) for name in self.layout.key]
        return pc.binary_join_element_wise(*parts, " / ") if len(parts) > 1 else parts[0]

    def flag(
        self,
        code: str,
        column: str,
        mask: Booleans,
        *,
        values: pa.Array | None = None,
        allowed: str | None = None,
        action: str | None = None,
        severity: Severity | None = None,
    ) -> None:
        """Record a finding for every row of the mask, and set those rows aside if it says so."""
        chosen = np.flatnonzero(mask)
        if not len(chosen):
            return
        seen = self.text[column] if values is None else values
        self.findings.add_rows(
            code,
            self.layout.name,
            column,
            rows=self.key(chosen),
            values=seen.take(pa.array(chosen)),
            lines=self.lines[chosen],
            allowed=allowed,
            action=action,
            severity=severity,
        )
        if (severity or CODES[code].severity) == "quarantine":
            self.reason[chosen] = np.where(
                self.bad[chosen], self.reason[chosen], REASONS.index(code)
            )
            self.bad[chosen] = True

    def good(self) -> NDArray[np.int64]:
        """Return the indexes of the rows that are accepted so far."""
        return np.flatnonzero(~self.bad)


Predicate: TypeAlias = Callable[[Rows], Booleans]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule about rows: what it is called, which column it is about, which rows break it."""

    code: str
    column: str
    breaks: Predicate
    allowed: str | None = None
    action: str | None = None
    severity: Severity | None = None


def apply(checks: Iterable[Check], rows: Rows) -> None:
    """Apply checks in order; rows that an earlier one set aside are not looked at again."""
    for check in checks:
        mask = check.breaks(rows) & ~rows.bad
        rows.flag(
            check.code,
            check.column,
            mask,
            allowed=check.allowed,
            action=check.action,
            severity=check.severity,
        )


def read(batch: Batch, layout: InputTable, findings: Findings) -> Rows:
    """Read every cell of a batch by its column's kind; cells that cannot be read are findings."""
    count = batch.table.num_rows
    lines = np.arange(batch.first_line, batch.first_line + count, dtype=np.int64)
    nothing = np.zeros(count, np.bool_), np.zeros(count, np.int16)
    rows = Rows(layout, {}, lines, findings, *nothing)
    garbled: dict[str, Booleans] = {}
    for column in layout.columns:
        content = batch.table[column.name].combine_chunks()
        if pa.types.is_timestamp(content.type):
            rows.text[column.name] = _shown(content)
            rows.instants[column.name] = cells.instants(content)
        else:
            rows.text[column.name], garbled[column.name] = cells.text(content)
    for column in layout.columns:
        _read_column(rows, column, garbled.get(column.name))
    return rows


def _shown(content: pa.Array) -> pa.StringArray:
    """Return timestamps as text; years that cannot be written are shown as a number."""
    try:
        return pc.fill_null(content.cast(pa.string()), "")
    except pa.ArrowInvalid:
        return pc.fill_null(content.cast(pa.int64()).cast(pa.string()), "")


def _read_column(rows: Rows, column: InputColumn, garbled: Booleans | None) -> None:
    name = column.name
    if garbled is not None and garbled.any():
        rows.flag("ENCODING", name, garbled)
    blank = np.zeros(len(rows), np.bool_)
    if column.kind == "name":
        rows.flag("ENCODING", name, cells.unclean(rows.text[name]) & ~rows.bad)
        blank = ~rows.has(name)
        code = "NAME_MISSING"
    elif column.kind == "word":
        known = rows.is_in(name, *column.words)
        blank = ~rows.has(name)
        allowed = ", ".join(column.words)
        rows.flag("ENUM_UNKNOWN", name, ~known & ~blank, allowed=allowed)
        code = "ENUM_UNKNOWN"
    elif column.kind in ("number", "price", "quantity"):
        status = _read_numbers(rows, column)
        blank = status == Status.BLANK
        code = "NUMBER_INVALID"
    elif column.kind == "instant":
        if name not in rows.instants:
            rows.instants[name] = cells.instants(rows.text[name])
        status = rows.instants[name].status
        for wrong, reason in (
            (Status.NO_ZONE, "TZ_MISSING"),
            (Status.WRONG_UNIT, "TIME_UNIT"),
            (Status.INVALID, "TIME_INVALID"),
        ):
            rows.flag(reason, name, status == wrong)
        blank = status == Status.BLANK
        code = "TIME_INVALID"
    if not column.blank and column.kind != "reference":
        rows.flag(code, name, blank)


def _read_numbers(rows: Rows, column: InputColumn) -> NDArray[np.int8]:
    content = rows.text[column.name]
    if column.kind == "quantity":
        rows.exact[column.name] = cells.exact(content)
        status = rows.exact[column.name].status
    else:
        rows.numbers[column.name] = cells.numbers(content)
        status = rows.numbers[column.name].status
    rows.flag("NUMBER_FORMAT", column.name, status == Status.LOCAL_FORMAT)
    invalid = status == Status.INVALID
    if column.kind != "price":
        invalid |= (status == Status.NOT_A_NUMBER) | (status == Status.INFINITE)
    rows.flag("NUMBER_INVALID", column.name, invalid)
    return status


def refuse_duplicates(rows: Rows, keys: pa.Array, column: str) -> None:
    """Refuse rows with the same key, if not blank, each with a hash of its content."""
    counted = pc.value_counts(keys)
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    mask = _booleans(pc.is_in(keys, value_set=twice)) & _booleans(pc.not_equal(keys, ""))
    if mask.any():
        rows.flag("DUPLICATE_KEY", column, mask, values=_hashes(rows, mask))


def _hashes(rows: Rows, mask: Booleans) -> pa.Array:
    """Return, for the rows of the mask, a hash by which equal copies can be told apart."""
    result = np.full(len(rows), "", object)
    for row in np.flatnonzero(mask).tolist():
        content = "\x1f".join(column[row].as_py() for column in rows.text.values())
        result[row] = f"sha256 {hashlib.sha256(content.encode()).hexdigest()[:HASH_CHARACTERS]}"
    return pa.array(result, pa.string())


def refuse_spellings(rows: Rows, column: str) -> None:
    """Refuse names of a column that differ only in case, space or form of their characters."""
    names = pc.unique(rows.text[column])
    same = cells.folded(names)
    counted = pc.value_counts(same)
    clashing = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    if len(clashing):
        guilty = names.filter(pc.is_in(same, value_set=clashing))
        mask = _booleans(pc.is_in(rows.text[column], value_set=guilty))
        rows.flag("KEY_NORMALISATION", column, mask)


def _booleans(mask: pa.Array) -> Booleans:
    return np.asarray(mask.to_numpy(zero_copy_only=False))
