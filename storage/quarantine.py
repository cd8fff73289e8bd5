"""Bad input as a named outcome: what is wrong, where, what is allowed and what to do about it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.codes import CODES, Code, Severity

__all__ = [
    "CODES",
    "FINDINGS",
    "Code",
    "DatasetRefused",
    "Finding",
    "Findings",
    "Severity",
    "findings_table",
]

SHOWN_ROWS = 5  # of each code, in messages; the table holds every row

Integers: TypeAlias = NDArray[np.int64]
_LABEL = pa.dictionary(pa.int32(), pa.string())

FINDINGS = pa.schema(
    [
        # Labels repeat for millions of rows, so they are kept once.
        pa.field("code", _LABEL, nullable=False),
        pa.field("severity", _LABEL, nullable=False),
        pa.field("dataset", _LABEL, nullable=False),
        pa.field("row", pa.string(), nullable=False, metadata={"meaning": "name of the row"}),
        pa.field("field", _LABEL, nullable=False),
        pa.field("value", pa.string(), nullable=False, metadata={"meaning": "value seen"}),
        pa.field("allowed", _LABEL, nullable=False),
        pa.field("action", _LABEL, nullable=False),
        pa.field(
            "line",
            pa.int64(),
            nullable=False,
            metadata={"meaning": "data row in the source, the first is 1; 0 for the whole dataset"},
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with one row, or with a whole dataset (then ``line`` is 0).

    >>> str(Finding.of("CCY_UNKNOWN", "instruments", "ETH-PERP", "settlement_currency", "", line=7))
    "CCY_UNKNOWN instruments row 7 (ETH-PERP): settlement_currency is ''"
    """

    code: str
    severity: Severity
    dataset: str
    row: str
    field: str
    value: str
    allowed: str
    action: str
    line: int = 0

    @classmethod
    def of(
        cls,
        code: str,
        dataset: str,
        row: str = "",
        field: str = "",
        value: str = "",
        *,
        allowed: str | None = None,
        action: str | None = None,
        severity: Severity | None = None,
        line: int = 0,
    ) -> "Finding":
        """Return a finding whose severity, allowed values and action are those of its code.

        Raises:
            KeyError: when the code is not registered in ``CODES``.
        """
        known = CODES[code]
        return cls(
            code=code,
            severity=known.severity if severity is None else severity,
            dataset=dataset,
            row=row,
            field=field,
            value=value,
            allowed=known.allowed if allowed is None else allowed,
            action=known.action if action is None else action,
            line=line,
        )

    def __str__(self) -> str:
        place = f" row {self.line}" if self.line else ""
        name = f" ({self.row})" if self.row else ""
        what = f"{self.field} is " if self.field else ""
        return f"{self.code} {self.dataset}{place}{name}: {what}{self.value!r}"


def said(finding: Mapping[str, Any]) -> str:
    """Return a finding of ``findings_table`` as one sentence.

    >>> said({"code": "LOT_SIZE", "dataset": "positions", "row": "a / b", "field": "quantity",
    ...       "value": "1.5", "allowed": "whole lots", "action": "correct it"})
    "LOT_SIZE, positions a / b: quantity is '1.5', allowed is whole lots; correct it"
    """
    return (
        f"{finding['code']}, {finding['dataset']} {finding['row']}: {finding['field']} is "
        f"{finding['value']!r}, allowed is {finding['allowed']}; {finding['action']}"
    )


def findings_table(findings: Iterable[Finding]) -> pa.Table:
    """Return the findings as a table of schema ``FINDINGS``, in the order given."""
    rows = list(findings)
    return pa.table(
        {
            name: pa.array([getattr(row, name) for row in rows], _plain(FINDINGS.field(name).type))
            for name in FINDINGS.names
        }
    ).cast(FINDINGS)


class Findings:
    """Everything found wrong with some datasets: every bad row, and exact counts by code.

    Rows are kept as columns, about fifty bytes each, so that ten million bad rows are recorded
    like ten: none is dropped and none costs a Python object.
    """

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self._tables: list[pa.Table] = []
        self._counts: Counter[tuple[str, Severity, str]] = Counter()
        for finding in findings:
            self.add(finding)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __iter__(self) -> Iterator[Finding]:
        for table in self._tables:
            for row in table.to_pylist():
                yield Finding(**row)

    def add(self, finding: Finding) -> None:
        """Record one finding."""
        self._tables.append(findings_table([finding]))
        self._counts[finding.code, finding.severity, finding.dataset] += 1

    def add_rows(
        self,
        code: str,
        dataset: str,
        field: str,
        *,
        rows: pa.Array,
        values: pa.Array,
        lines: Integers,
        allowed: str | None = None,
        action: str | None = None,
        severity: Severity | None = None,
    ) -> None:
        """Record the same finding for many rows: names, values seen and lines, all ``(row,)``."""
        count = len(lines)
        if count == 0:
            return
        one = Finding.of(
            code, dataset, field=field, allowed=allowed, action=action, severity=severity
        )
        columns = {
            name: _repeated(getattr(one, name), count)
            for name in ("code", "severity", "dataset", "field", "allowed", "action")
        }
        columns |= {
            "row": pc.fill_null(rows.cast(pa.string()), ""),
            "value": pc.fill_null(values.cast(pa.string()), ""),
            "line": pa.array(lines, pa.int64()),
        }
        self._tables.append(pa.table([columns[name] for name in FINDINGS.names], schema=FINDINGS))
        self._counts[code, one.severity, dataset] += count

    def extend(self, other: "Findings") -> None:
        """Take over all findings of another collection."""
        self._tables.extend(other._tables)
        self._counts.update(other._counts)

    def table(self) -> pa.Table:
        """Return every finding as one table of schema ``FINDINGS``."""
        if not self._tables:
            return FINDINGS.empty_table()
        return pa.concat_tables(self._tables).unify_dictionaries().combine_chunks()

    def counts(self) -> Mapping[str, int]:
        """Return the exact number of findings by code."""
        total: Counter[str] = Counter()
        for (code, _, _), count in self._counts.items():
            total[code] += count
        return dict(sorted(total.items()))

    def groups(
        self, severity: Severity | None = None
    ) -> Sequence[tuple[str, Severity, str, int, Sequence[Finding]]]:
        """Return (code, severity, dataset, exact count, first few findings) of each kind found."""
        kept: dict[tuple[str, Severity, str], list[Finding]] = {}
        for table in self._tables:
            for row in table.slice(0, SHOWN_ROWS).to_pylist():
                finding = Finding(**row)
                key = finding.code, finding.severity, finding.dataset
                if len(kept.setdefault(key, [])) < SHOWN_ROWS:
                    kept[key].append(finding)
        return [
            (*key, self._counts[key], tuple(shown))
            for key, shown in kept.items()
            if severity is None or key[1] == severity
        ]

    @property
    def refused(self) -> bool:
        """Whether any finding refuses its dataset."""
        return any(severity == "refuse" for _, severity, _ in self._counts)

    def raise_if_refused(self) -> None:
        """Raise ``DatasetRefused`` with all findings when one of them refuses its dataset."""
        if self.refused:
            raise DatasetRefused(self)


class DatasetRefused(Exception):
    """A dataset cannot be used at all; nothing was written.

    The message names each problem, the values seen, what is allowed and what to do. All findings,
    those that only quarantine or warn too, are in ``findings``.
    """

    def __init__(self, findings: Findings | Iterable[Finding]) -> None:
        self.findings = findings if isinstance(findings, Findings) else Findings(findings)
        super().__init__(_message(self.findings))


def _message(findings: Findings) -> str:
    groups = findings.groups("refuse")
    datasets = ", ".join(dict.fromkeys(dataset for _, _, dataset, _, _ in groups))
    lines = [f"refused: {datasets}; nothing was written"]
    for code, _, dataset, count, shown in groups:
        lines.append(f"{code} in {dataset} ({count:,} found): {CODES[code].meaning}")
        for finding in shown:
            place = f"row {finding.line}" if finding.line else "the dataset"
            name = f" ({finding.row})" if finding.row else ""
            what = f"{finding.field} = " if finding.field else ""
            lines.append(f"  {place}{name}: {what}{finding.value}")
        if count > len(shown):
            lines.append(f"  and {count - len(shown):,} more")
        lines.append(f"  allowed: {shown[0].allowed}")
        lines.append(f"  do: {shown[0].action}")
    aside = [
        f"{count:,} {code} in {dataset}"
        for code, _, dataset, count, _ in findings.groups("quarantine")
    ]
    if aside:
        lines.append(f"rows in quarantine as well: {', '.join(aside)}")
    return "\n".join(lines)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _repeated(label: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([label]))


assert tuple(FINDINGS.names) == tuple(field.name for field in fields(Finding))
