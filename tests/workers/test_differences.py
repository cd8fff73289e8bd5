"""Which accounts moved between two runs and why: known changes are found where they were made."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from storage import tables
from storage.book import BookWriter
from storage.market import sample_market
from tests.conftest import approved
from workers.differences import MOVED, difference_of


@pytest.fixture(scope="module")
def changed_book(mixed_book, tmp_path_factory):
    """The mixed book with one account's position doubled and another's collateral gone."""
    book = mixed_book
    positions = book.position_slice(0, book.accounts)
    collateral = book.collateral_slice(0, book.accounts)
    owner = np.repeat(np.arange(book.accounts), np.diff(positions.offsets))
    keeper = np.repeat(np.arange(book.accounts), np.diff(collateral.offsets))
    margined = [row for row in np.unique(owner) if row not in (7, 12, 23, 40)]
    first = int(margined[0])
    at = int(np.flatnonzero(owner == first)[0])
    lots = positions.lots.copy()
    other = int(
        np.flatnonzero((owner == 59) & (positions.instrument == positions.instrument[at]))[0]
    )
    lots[at], lots[other] = lots[at] * 2, lots[other] - lots[at]
    poorer = next(int(row) for row in np.unique(keeper) if row not in (first, 12, 31, 40, 59))
    kept = keeper != poorer
    folder = tmp_path_factory.mktemp("changed") / "book"
    with BookWriter(folder, "mixed", book.as_of, book.instruments(), book.members(),
                    book.assets()) as writer:  # fmt: skip
        writer.append(
            book.account_table(0, book.accounts),
            _table([owner, positions.instrument, lots], tables.POSITIONS.schema),
            _table(
                [keeper[kept], collateral.asset[kept], collateral.quantity[kept]],
                tables.COLLATERAL.schema,
            ),
        )
        made = writer.close(held=book.held_reasons())
    return made, first, poorer


def _table(columns, schema):
    return pa.table(
        [pa.array(one, field.type) for one, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


@pytest.fixture(scope="module")
def done(mixed_book, changed_book, margin_of, small_methodology, tmp_path_factory):
    """Runs of the book, of the changed book, and of the changed book by dearer rules."""
    dearer = tmp_path_factory.mktemp("rules") / "dearer.toml"
    text = small_methodology.read_text()
    dearer.write_text(approved(text.replace("level = 0.9\n", "level = 0.95\n")))
    return (
        margin_of(mixed_book).run,
        margin_of(changed_book[0]).run,
        margin_of(changed_book[0], methodology=str(dearer)).run,
    )


def assert_reconciles(found, before, after):
    for name in MOVED:
        totals = after.manifest["totals"][name] - before.manifest["totals"][name]
        assert found.change[name] == totals
        parts = sum(cause[name] for cause in found.causes.values())
        assert parts == pytest.approx(totals, rel=1e-9, abs=1e-6)
    assert sum(cause["accounts"] for cause in found.causes.values()) == found.accounts.num_rows


def test_a_run_does_not_differ_from_itself(done):
    found = difference_of(done[0], done[0])
    assert found.changed == ()
    assert found.accounts.num_rows == 0
    assert found.causes == {}
    assert found.unmoved == done[0].manifest["totals"]["margined"]


def test_positions_and_collateral_are_told_apart(done, changed_book, mixed_book):
    _, first, poorer = changed_book
    found = difference_of(done[0], done[1])
    assert found.changed == ("positions", "collateral")
    names = mixed_book.account_table(0, mixed_book.accounts)["account"].to_pylist()
    causes = {row["account"]: row["cause"] for row in found.accounts.to_pylist()}
    assert causes[names[first]] == "positions"
    assert causes[names[poorer]] == "collateral"
    assert set(causes) <= {names[first], names[poorer], names[59]}
    assert_reconciles(found, done[0], done[1])


def test_three_inputs_are_replaced_one_after_the_other(done):
    found = difference_of(done[0], done[2])
    assert found.changed == ("positions", "collateral", "methodology")
    assert_reconciles(found, done[0], done[2])
    alone = difference_of(done[1], done[2])
    assert alone.changed == ("methodology",)
    # The rules were replaced last, so their part is what they alone would have moved.
    for name in MOVED:
        assert found.causes["methodology"][name] == pytest.approx(alone.causes["methodology"][name])
    for row in found.accounts.to_pylist():
        for name in MOVED:
            parts = sum(row[f"{name}_by_{cause}"] for cause in found.changed)
            assert parts == pytest.approx(row[f"{name}_change"], rel=1e-9, abs=1e-6)


def test_an_older_version_of_the_program_has_a_part_of_its_own(done):
    """Numbers of a run that another version made are its own; what this one makes is the rest."""
    manifest = done[0].manifest | {"code_version": "0.0.1+older"}
    accounts = done[0].accounts.load().copy(deep=True)
    accounts["requirement"] = accounts["requirement"] + 1.0
    groups = {**done[0].groups, "accounts": accounts}
    older = dataclasses.replace(done[0], manifest=manifest, groups=groups)
    found = difference_of(older, done[1])
    assert found.changed == ("positions", "collateral", "code")
    margined = done[0].manifest["totals"]["margined"]
    assert found.causes["code"]["requirement"] == pytest.approx(-margined)
    assert found.accounts.num_rows == margined


def test_accounts_that_come_and_go_are_counted_apart(synthetic_book, margin_of, mixed_book):
    assert sample_market().as_of == datetime(2024, 1, 8, 11, 19, 41, tzinfo=UTC)
    before, after = margin_of(mixed_book).run, margin_of(synthetic_book(2_000)).run
    found = difference_of(before, after)
    assert found.causes["new"]["accounts"] == after.manifest["totals"]["margined"]
    assert found.causes["gone"]["accounts"] == before.manifest["totals"]["margined"]
    for name in MOVED:
        parts = sum(cause[name] for cause in found.causes.values())
        assert parts == pytest.approx(found.change[name], rel=1e-9, abs=1e-6)
