"""Bad input in files of rules and in networks: each is refused by its code."""

import numpy as np
import pytest

from risk.sensitivities.specification import parse_greeks
from risk.specification import DEEPEST_TEXT, LONGEST_TEXT, read_toml
from risk.systemic.network import liability_matrix
from storage.rule_text import LARGEST_RULES, read_rule_text
from tests.risk.sensitivities.test_greeks_margin import TEXT
from workers.methodologies import load_methodology, shipped_methodologies
from workers.pool.request import load_rules
from workers.stress.request import load_plan


def test_b42_correlations_that_no_numbers_have():
    with pytest.raises(ValueError, match=r"CORR_NOT_PSD: bucket_correlations .* is -0\.\d+, allow"):
        parse_greeks(TEXT.replace("value = 0.60", "value = -0.60", 1))


@pytest.mark.parametrize("value", ["1.2", "-1.01", "60"])
def test_b43_a_correlation_beyond_one(value):
    with pytest.raises(ValueError, match=r"CORR_INVALID: a correlation is .*; allowed is -1 to 1"):
        parse_greeks(TEXT.replace("value = 0.60", f"value = {value}", 1))


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], "node 0 owes itself"),
        ([[0.0, -1.0], [0.0, 0.0]], "holds -1.0"),
        ([[0.0, np.nan], [0.0, 0.0]], "holds nan"),
    ],
)
def test_b66_a_network_that_is_none(claims, words):
    with pytest.raises(ValueError, match=f"NETWORK_INVALID: debts:? {words}"):
        liability_matrix("debts", claims)


HOSTILE = {
    "lists in lists": "a = " + "[" * 100_000,
    "closed lists in lists": "a = " + "[" * 400 + "]" * 400,
    "tables in tables": "a = " + "{b = " * 3_000 + "1" + "}" * 3_000,
    "a key of many parts": ".".join("a" * 3_000) + " = 1",
    "a header of many parts": "[" + ".".join("a" * 3_000) + "]",
}
READERS = {
    "a methodology": load_methodology,
    "rules of a pool": load_rules,
    "a plan of a stress test": load_plan,
    "events": lambda name: load_methodology(shipped_methodologies()[0], name),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_rules_nested_without_end_are_refused_in_a_sentence(hostile, reader, tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(HOSTILE[hostile])
    with pytest.raises(ValueError, match="TOML_TOO_DEEP: tables lie in tables more than 16 deep"):
        READERS[reader](str(path))


def test_depth_is_counted_in_tables_and_lists():
    assert read_toml("a = " + "[" * (DEEPEST_TEXT - 1) + "]" * (DEEPEST_TEXT - 1))
    with pytest.raises(ValueError, match="TOML_TOO_DEEP"):
        read_toml("a = " + "[" * DEEPEST_TEXT + "]" * DEEPEST_TEXT)


def test_endless_rules_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "rules.toml"
    with path.open("wb") as file:
        file.truncate(1 << 34)  # sixteen gigabytes that take no room
    with pytest.raises(ValueError, match=f"more than {LARGEST_RULES:,} bytes"):
        read_rule_text(path)
    with pytest.raises(ValueError, match="TOML_TOO_LONG"):
        read_toml("#" * (LONGEST_TEXT + 1))


def test_rules_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(ValueError, match="not UTF-8 from byte 8"):
        load_methodology(str(path))
