"""Findings: exact counts, every row kept, and messages that say what to do."""

import numpy as np
import pyarrow as pa
import pytest

from storage.quarantine import CODES, FINDINGS, DatasetRefused, Finding, Findings, findings_table


def test_table_has_the_fixed_schema_even_when_empty() -> None:
    assert findings_table([]).schema == FINDINGS
    one = Finding.of("LOT_SIZE", "positions", "a / X", "quantity", "1.5", line=3)
    table = findings_table([one])
    assert table.schema == FINDINGS
    assert Finding(**table.to_pylist()[0]) == one


def test_every_code_says_what_is_allowed_and_what_to_do() -> None:
    for name, code in CODES.items():
        assert name == code.name
        assert code.severity in ("quarantine", "refuse", "warn")
        assert code.meaning
        assert code.allowed
        assert code.action


def test_unregistered_code_is_an_error() -> None:
    with pytest.raises(KeyError):
        Finding.of("NO_SUCH_CODE", "positions")


def test_refusal_names_thing_value_allowed_and_action() -> None:
    refused = DatasetRefused(
        [
            Finding.of("UNBALANCED_OI", "positions", "ETH-PERP", "quantity", "+3"),
            Finding.of("LOT_SIZE", "positions", "a / X", "quantity", "1.5", line=3),
        ]
    )
    message = str(refused)
    for part in ("UNBALANCED_OI", "positions", "ETH-PERP", "+3", "allowed:", "do:"):
        assert part in message
    # Recorded, but not why the import stopped.
    assert "LOT_SIZE in positions (" not in message
    assert message.endswith("\nrows in quarantine as well: 1 LOT_SIZE in positions")
    assert refused.findings.counts() == {"LOT_SIZE": 1, "UNBALANCED_OI": 1}


def test_millions_of_bad_rows_are_all_kept_and_only_a_few_shown() -> None:
    count = 2_000_000
    findings = Findings()
    lines = np.arange(1, count + 1)
    names = pa.array(lines).cast(pa.string())
    findings.add_rows(
        "NUMBER_FORMAT", "positions", "quantity", rows=names, values=names, lines=lines
    )
    assert len(findings) == count
    table = findings.table()
    assert table.num_rows == count
    assert table.nbytes < 80 * count
    np.testing.assert_array_equal(table["line"].to_numpy(), lines)
    message = str(DatasetRefused(findings))
    assert "2,000,000 found" in message
    assert len(message) < 1_000


def test_counts_reconcile_over_many_batches() -> None:
    findings = Findings()
    for start in range(10):
        lines = np.arange(start * 7, start * 7 + 7)
        text = pa.array(lines).cast(pa.string())
        findings.add_rows("LOT_SIZE", "positions", "quantity", rows=text, values=text, lines=lines)
    findings.add(Finding.of("SCHEMA_ADDED", "accounts", field="colour", value="colour"))
    assert findings.counts() == {"LOT_SIZE": 70, "SCHEMA_ADDED": 1}
    assert findings.table().num_rows == len(findings) == 71
    assert not findings.refused
    findings.raise_if_refused()
