"""Rule books: those that ship are sound, and a wrong one says what is wrong with it."""

import numpy as np
import pytest

from risk.standard import parse_standard, standard_margin
from tests.risk.standard.books import (
    COINS,
    FOLDER,
    MARKET,
    UNIVERSE,
    VALUE,
    shipped,
    shipped_names,
)

OPTION = """
[[rules]]
kind = "option"
settlement = "linear"
form = "out_of_the_money"
source = "test"
moneyness = "index"
initial_maximum = 0.2
initial_minimum = 0.1
call_maintenance = 0.05
put_maintenance = 0.05
"""
FUTURE = """
[[rules]]
kind = "perpetual"
form = "fraction"
source = "test"
price = "mark"
initial = 0.1
maintenance = 0.05
"""
BRACKETS = """
[[rules]]
kind = "perpetual"
form = "brackets"
source = "test"
price = "mark"
brackets = [
    { floor = 0, initial = 0.1, maintenance = 0.05 },
    { floor = 100, initial = 0.2, maintenance = 0.10, deduction = 5 },
]
"""
HEAD = """
name = "test"
version = "1"
effective = 2026-01-01
title = "t"
venue = "Venue"
venue_number = true
sources = ["s"]
not_verified = []
"""


@pytest.mark.parametrize("name", shipped_names())
def test_what_ships_margins_every_instrument_and_says_where_it_comes_from(name):
    spec = shipped(name)
    assert name == f"{spec.name}-{spec.effective:%Y-%m}"
    assert spec.sources
    assert spec.not_verified
    rows = np.arange(len(UNIVERSE), dtype=np.int32)
    offsets, quantity = np.array([0, len(rows)]), -np.ones(len(rows))
    result = standard_margin(
        offsets, rows, quantity, UNIVERSE, MARKET, VALUE, spec, underlyings=COINS
    )
    assert not result.held[0]
    assert result.initial[0] >= result.maintenance[0] > 0.0


@pytest.mark.parametrize("name", shipped_names())
def test_a_rule_that_is_ours_says_so(name):
    """The word stands in the source, and the switch with it."""
    for rule in shipped(name).rules:
        assert rule.choice == ("ours" in rule.source), rule


def test_only_a_book_of_the_venue_calls_itself_so():
    assert shipped("derive-standard-2025-01").label == "Derive standard margin, as of 2025-01-01"
    assert "not the venue's number" in shipped("deribit-standard-2022-01").label


def test_a_new_rule_book_needs_only_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + OPTION + FUTURE)
    spec = parse_standard(path.read_text())
    perpetual = int(np.flatnonzero(UNIVERSE.kind == 2)[0])
    result = standard_margin(
        np.array([0, 1]), np.array([perpetual], np.int32), np.array([2.0]),
        UNIVERSE, MARKET, VALUE, spec,
    )  # fmt: skip
    assert result.initial[0] == pytest.approx(0.1 * 2.0 * 0.1 * 30_300.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "rules\n  Field required"),
        (HEAD + "rules = []", "at least 1 item"),
        (HEAD.replace("effective", "effectiv") + FUTURE, "effectiv\n  Extra inputs"),
        (HEAD.replace("true", "false") + FUTURE, "say in not_verified what stands against it"),
        (HEAD + FUTURE + "choice = true", "every rule is marked as a choice, not Venue's"),
        (HEAD + FUTURE.replace("fraction", "share"), "'share' .*does not match any of"),
        (HEAD + FUTURE.replace("perpetual", "option"), "'future' or 'perpetual'"),
        (HEAD + FUTURE.replace("0.05", "5.0"), "less than or equal to 1"),
        (HEAD + FUTURE.replace('price = "mark"', ""), "price\n  Field required"),
        (HEAD + FUTURE + "underlyings = []", "at least 1 item"),
        (HEAD + FUTURE.replace('"test"', '""'), "at least 1 character"),
        (
            HEAD + OPTION.replace("minimum = 0.1", "minimum = 0.3"),
            "0.3 is above initial_maximum 0.2",
        ),
        (HEAD + OPTION + 'relief = "maximum_loss"', "needs settlement = 'linear', unpaired_call"),
        (HEAD + OPTION + "unpaired_call_initial = 1.2", "belong to relief = 'maximum_loss'"),
        (
            HEAD
            + OPTION.replace("linear", "inverse")
            + 'relief = "maximum_loss"\nunpaired_call_initial = 1\nunpaired_call_maintenance = 1',
            "needs settlement = 'linear'.*got 'inverse'",
        ),
        (HEAD + BRACKETS.replace("floor = 0,", "floor = 1,"), "the first bracket has floor 1"),
        (HEAD + BRACKETS.replace("floor = 100", "floor = 0"), "floor 0 does not rise from 0"),
        (HEAD + BRACKETS.replace("= 5 ", "= 50 "), "at notional 100 maintenance falls from 5 to"),
        ("name = ", "Invalid value"),
    ],
)
def test_a_wrong_rule_book_says_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse_standard(text)


def test_the_folder_holds_rule_books_only():
    assert len(shipped_names()) == len(list(FOLDER.iterdir()))
