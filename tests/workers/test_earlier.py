"""A run that keeps what did not change is the run that computes everything, to the bit."""

import dataclasses
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest

from storage.book import Book, BookWriter
from storage.market import sample_market, write_market
from storage.runs import UnknownRun
from workers import earlier

ACCOUNTS = 4_500
"""Two blocks, a shard each."""

RULES = (
    "margincube-wrong-way-2026-01",
    "margincube-layered-2026-01",
    "span-scan-2026-01",
    "deribit-standard-2022-01",
    "margincube-greeks-2026-01",
    "aave-v3-ethereum-2023-10",
)


def held_by(book):
    """Return the tables of a book's accounts, and of what each holds."""
    accounts = book.account_table(0, book.accounts)
    positions = book.position_slice(0, book.accounts)
    collateral = book.collateral_slice(0, book.accounts)
    rows = np.arange(book.accounts, dtype=np.int32)
    return (
        accounts,
        {
            "account": np.repeat(rows, np.diff(positions.offsets)),
            "instrument": positions.instrument.copy(),
            "lots": positions.lots.copy(),
        },
        {
            "account": np.repeat(rows, np.diff(collateral.offsets)),
            "asset": collateral.asset.copy(),
            "quantity": collateral.quantity.copy(),
        },
    )


def written(book, path, accounts, positions, collateral, held=None):
    """Write a book with other accounts, or other things held, than ``book``."""
    references = (book.instruments(), book.members(), book.assets())
    with BookWriter(path, book.name, book.as_of, *references) as writer:
        writer.append(accounts, pa.table(positions), pa.table(collateral))
        return writer.close(held=held, one_sided=True)


def nothing(book, accounts, positions, collateral):
    return accounts, positions, collateral, None


def other_sizes(book, accounts, positions, collateral):
    positions["lots"][::97] *= -2
    return accounts, positions, collateral, None


def rows_come_and_go(book, accounts, positions, collateral):
    """Some accounts lose a position, one loses all, one gets its first."""
    owner = positions["account"]
    gone = (np.arange(len(owner)) % 211 == 0) | (owner == owner[50])
    empty = np.setdiff1d(np.arange(book.accounts), owner)[0]
    kept = {name: values[~gone] for name, values in positions.items()}
    at = np.searchsorted(kept["account"], empty)
    new = {"account": empty, "instrument": 3, "lots": 7}
    return (
        accounts,
        {name: np.insert(values, at, new[name]) for name, values in kept.items()},
        collateral,
        None,
    )


def other_collateral(book, accounts, positions, collateral):
    collateral["quantity"][::89] *= 1.5
    return accounts, positions, collateral, None


def other_modes_and_members(book, accounts, positions, collateral):
    mode = accounts["margin_mode"].to_numpy().copy()
    mode[5::400] = (mode[5::400] + 1) % 3
    member = accounts["member"].to_numpy().copy()
    member[7::300] = 0
    for name, values in (("margin_mode", mode), ("member", member)):
        at = accounts.schema.get_field_index(name)
        accounts = accounts.set_column(at, accounts.field(at), pa.array(values))
    return accounts, positions, collateral, None


def some_are_held(book, accounts, positions, collateral):
    held = pa.table({"account": pa.array([3, 4_200], pa.int32()), "code": ["SIGN", "SIGN"]})
    return accounts, positions, collateral, held


def new_accounts_at_the_end(book, accounts, positions, collateral):
    few = accounts.slice(0, 20)
    names = pa.array([f"zzz-{row:02d}" for row in range(20)])
    few = few.set_column(few.schema.get_field_index("account"), "account", names)
    rows = positions["account"] < 20
    more = {name: values[rows] for name, values in positions.items()}
    more["account"] = more["account"] + np.int32(book.accounts)
    joined = {name: np.concatenate([positions[name], more[name]]) for name in positions}
    return pa.concat_tables([accounts, few.cast(accounts.schema)]), joined, collateral, None


CHANGES = (
    rows_come_and_go,
    other_collateral,
    new_accounts_at_the_end,
    *(
        pytest.param(change, marks=pytest.mark.slow)
        for change in (nothing, other_sizes, other_modes_and_members, some_are_held)
    ),
)


@pytest.fixture(scope="module")
def book(synthetic_book):
    return synthetic_book(ACCOUNTS)


@pytest.fixture(scope="module")
def changed(book, tmp_path_factory):
    """Return a function that makes, once, the book with a change."""
    made: dict[object, Book] = {}

    def changed_book(change):
        if change not in made:
            path = tmp_path_factory.mktemp("changed") / "book"
            made[change] = written(book, path, *change(book, *held_by(book)))
        return made[change]

    return changed_book


@pytest.fixture(scope="module")
def first(book, margin_of):
    """The run that the others go on from."""
    return margin_of(book, shards=2)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_kept_is_what_would_have_been_computed(
    book, changed, first, margin_of, monkeypatch, change
):
    now = changed(change)
    since = margin_of(now, runs=first.request.runs, since=first.run.run_id, shards=2)
    whole = margin_of(now, shards=2)
    assert since.digest == whole.digest
    said = since.run.manifest["since"]
    assert (said["run_id"], said["reason"]) == (first.run.run_id, "")
    assert said["kept"] > 0.8 * ACCOUNTS - (404 if change is new_accounts_at_the_end else 0)
    assert said["kept"] < ACCOUNTS or change is nothing or change is new_accounts_at_the_end
    assert whole.run.manifest["since"] is None


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
def test_by_whatever_rules(book, changed, margin_of, rules):
    options = {"methodology": rules}
    before = margin_of(book, **options)
    now = changed(rows_come_and_go)
    since = margin_of(now, runs=before.request.runs, since=before.run.run_id, **options)
    assert since.digest == margin_of(now, **options).digest
    assert since.run.manifest["since"]["kept"] > 0.8 * ACCOUNTS


def test_a_price_that_moves_touches_those_who_hold_it(book, margin_of, tmp_path, monkeypatch):
    """The price of SOL is another: who has none, and owes nobody in it, is kept."""
    sample = sample_market()
    sol = dataclasses.replace(sample.index["SOL"], price=1.01 * sample.index["SOL"].price)
    write_market(
        tmp_path / "moved",
        sample.quotes(),
        sample.prices(),
        sample.as_of,
        {**sample.index, "SOL": sol},
    )
    monkeypatch.setattr(earlier, "MOST", 1.0)
    moved = {"market": tmp_path / "moved"}
    before = margin_of(book)
    since = margin_of(book, runs=before.request.runs, since=before.run.run_id, **moved)
    assert since.digest == margin_of(book, **moved).digest
    assert since.digest != before.digest
    assert 0 < since.run.manifest["since"]["kept"] < ACCOUNTS


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ("methodology", "it was made by small, or with other events"),
        ("code", "another version of this program made it"),
        ("book", "there is no folder|no book at"),
        ("most", ""),
    ],
)
def test_why_nothing_is_kept(
    synthetic_book, changed, margin_of, monkeypatch, tmp_path, prepare, reason
):
    book = synthetic_book(500)
    path = tmp_path / "book"
    shutil.copytree(book.path, path)
    before = margin_of(Book.open(path))
    options = {}
    if prepare == "methodology":
        options = {"methodology": "historical-es-2026-01"}
    elif prepare == "code":
        monkeypatch.setattr(earlier, "code_version", lambda: "another")
    elif prepare == "book":
        shutil.rmtree(path)
    else:
        monkeypatch.setattr(earlier, "MOST", 0.0)
    accounts, positions, collateral, _ = other_sizes(book, *held_by(book))
    now = written(book, tmp_path / "now", accounts, positions, collateral)
    since = margin_of(now, runs=before.request.runs, since=before.run.run_id, **options)
    assert since.digest == margin_of(now, **options).digest
    said = since.run.manifest["since"]
    assert said["kept"] == 0
    assert re.search(reason, said["reason"])


def test_a_run_that_was_never_published_is_named(synthetic_book, margin_of):
    with pytest.raises(UnknownRun, match="no run 'nobody'"):
        margin_of(synthetic_book(500), since="nobody")
