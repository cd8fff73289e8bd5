"""Margin calls: against the stored arrays account by account, and what changed between two runs."""

import copy
import csv
import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from risk.health import AccountHealth, DueHours, HealthSpec
from storage import tables
from storage.book import BookWriter
from storage.market import sample_market, write_market
from workers.call_rows import RunTooOld
from workers.calls import CallFiles, margin_calls, run_before
from workers.inputs import BookChanged
from workers.since import NothingBefore
from workers.stages import Silent
from workers.ways_back import ways_back

SPEC = HealthSpec(warning_ratio=1.5, target_ratio=1.1, due_hours=DueHours(margin_call=12.0))


@pytest.fixture(scope="module")
def done(mixed_book, margin_of):
    return margin_of(mixed_book)


@pytest.fixture(scope="module")
def found(done):
    return margin_calls(done.run, Silent(), limit=1_000, spec=SPEC)


def slow_calls(run, book):
    """Account by account, from what is stored."""
    stored, names = run.accounts.load(), book.account_table(0, book.accounts)["account"]
    for row, name in enumerate(names.to_pylist()):
        if int(stored["status"][row]):
            continue
        equity, initial, maintenance = (
            float(stored[key][row]) for key in ("equity", "requirement", "maintenance")
        )
        if equity < initial or equity < 0.0:
            health = "bankrupt" if equity < 0.0 else "margin_call"
            if 0.0 <= equity < maintenance:
                health = "liquidation"
            yield row, name, health, max(0.0, 1.1 * initial - equity)


def test_calls_are_those_of_the_slow_twin(mixed_book, done, found):
    slow = {name: (row, health, amount) for row, name, health, amount in slow_calls(
        done.run, mixed_book)}  # fmt: skip
    assert len(slow) >= 10
    assert {call["account"] for call in found["calls"]} == set(slow)
    assert found["accounts_called"] == len(slow)
    assert found["call_amount"] == pytest.approx(sum(amount for *_, amount in slow.values()))
    layers = done.run.accounts["layer"].values.tolist()
    for call in found["calls"]:
        row, health, amount = slow[call["account"]]
        assert (call["health"], call["call_amount"]) == (health, amount)
        margin = done.run.accounts["margin"].values[row]
        assert call["largest_layer"] == layers[int(margin.argmax())]
        assert call["largest_layer_amount"] == margin.max()
        binding = int(done.run.accounts["binding_scenario"][row])
        label = str(done.run.scenarios["label"].values[binding]) if binding >= 0 else None
        assert call["binding_scenario"] == label
        assert call["due_hours"] == (12.0 if health == "margin_call" else 0.0)
        assert call["currency"] == "USD"
    amounts = [call["call_amount"] for call in found["calls"]]
    assert amounts == sorted(amounts, reverse=True)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_every_account_is_counted_once(mixed_book, found):
    by_health = {one["health"]: one["accounts"] for one in found["by_health"]}
    assert list(by_health) == [health.name.lower() for health in AccountHealth]
    assert sum(by_health.values()) + found["held"] == found["accounts"] == mixed_book.accounts
    assert found["held"] >= 5
    for name, count in by_health.items():
        assert sum(one[name] for one in found["by_member"]) == count
    assert sum(one["accounts_called"] for one in found["by_member"]) == found["accounts_called"]
    assert sum(one["call_amount"] for one in found["by_member"]) == pytest.approx(
        found["call_amount"]
    )


def test_a_limit_lists_the_largest_and_counts_all(done, found):
    few = margin_calls(done.run, Silent(), limit=3, spec=SPEC)
    assert few["calls"] == found["calls"][:3]
    assert few["accounts_called"] == found["accounts_called"]
    assert margin_calls(done.run, Silent(), limit=0, spec=SPEC)["calls"] == []


def test_all_calls_go_to_files(done, found, tmp_path):
    files = CallFiles(tmp_path / "calls.csv", tmp_path / "calls.parquet")
    margin_calls(done.run, Silent(), limit=1, files=files, spec=SPEC)
    written = pq.read_table(files.parquet).to_pylist()
    assert sorted(written, key=lambda one: (-one["call_amount"], one["account"])) == found["calls"]
    with files.csv.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["account"] for row in rows] == [one["account"] for one in written]
    assert float(rows[0]["call_amount"]) == written[0]["call_amount"]


@pytest.mark.parametrize("field", ["csv", "parquet"])
def test_a_file_is_named_for_what_it_is(done, tmp_path, field):
    files = dataclasses.replace(CallFiles(), **{field: tmp_path / "calls.txt"})
    with pytest.raises(ValueError, match=f"use a .{field} file"):
        margin_calls(done.run, Silent(), files=files)


def test_ways_back_lead_back(done, found):
    """Whatever is proposed, the account is at its target after it."""
    names = [call["account"] for call in found["calls"]]
    amounts = [call["call_amount"] for call in found["calls"]]
    ways = ways_back(done.run, names, SPEC)
    assert [way["account"] for way in ways] == names
    assert [way["deposit"] for way in ways] == pytest.approx(amounts, rel=1e-9)
    kinds = {"single": 0, "nothing": 0}
    for way, call in zip(ways, found["calls"], strict=True):
        if way["single"]:
            kinds["single"] += 1
            assert 0.0 < way["single"]["fraction"] <= 1.0
            assert 1.1 * way["single"]["released"] >= way["deposit"] * (1 - 1e-9)
        elif call["equity"] < 0.0:
            kinds["nothing"] += 1
            assert way["sequence"] == []
            assert way["proportional"] is None
        else:
            assert way["sequence"] or way["proportional"] is not None
    assert all(kinds.values()), kinds


def test_the_same_run_again_changed_nothing(done, mixed_book):
    since = margin_calls(done.run, Silent(), previous=done.run, spec=SPEC)["since"]
    assert (since["new"], since["gone"], since["accounts"]) == (0, 0, [])
    assert since["health"] == {"worse": 0, "better": 0}
    for name in ("equity_change", "variation_margin", "collateral_pnl", "flows"):
        assert since[name] == 0.0


MOVES = {"BTC": 0.5, "ETH": 0.4, "SOL": 1.5}


def moved_market(folder):
    """The sample market at other index prices; quotes and history stay as they are."""
    sample = sample_market()
    index = {
        coin: dataclasses.replace(one, price=one.price * MOVES[coin])
        for coin, one in sample.index.items()
    }
    return write_market(folder / "moved", sample.quotes(), sample.prices(), sample.as_of, index)


def test_a_move_of_prices_is_split_into_its_parts(mixed_book, done, margin_of, tmp_path):
    """Nobody traded and no gain was settled: what the cash does not show is minus a flow."""
    market = moved_market(tmp_path)
    moved = margin_of(mixed_book, market=market.path)
    answer = margin_calls(moved.run, Silent(), previous=done.run, limit=100, spec=SPEC)
    since, was, now = answer["since"], done.run.accounts.load(), moved.run.accounts.load()
    change = (now["equity"] - was["equity"]).values
    assert since["margined_in_both"] == int(np.isfinite(change).sum())
    assert since["equity_change"] == pytest.approx(np.nansum(change))
    parts = since["option_and_spot_pnl"] + since["collateral_pnl"]
    assert parts == pytest.approx(since["equity_change"], rel=1e-9)
    assert since["flows"] == pytest.approx(-since["variation_margin"], rel=1e-9)
    assert since["health"]["worse"] + since["health"]["better"] == len(since["accounts"]) >= 2
    assert sum(since["changed_because"].values()) == len(since["accounts"])
    names = mixed_book.account_table(0, mixed_book.accounts)["account"].to_pylist()
    for one in since["accounts"]:
        row = names.index(one["account"])
        assert one["equity_change"] == change[row]
        assert one["variation_margin"] == pytest.approx(
            by_hand(done.run, moved.run, row, mixed_book)
        )
        assert one["equity_change"] == pytest.approx(
            one["variation_margin"] + one["option_and_spot_pnl"] + one["collateral_pnl"]
            + one["flows"], abs=1e-6
        )  # fmt: skip


def by_hand(was, now, row, book):
    """Gains of futures and perpetuals from stored forwards and index prices."""
    held, terms, total = book.position_slice(row, row + 1), book.instruments().to_pylist(), 0.0
    for at, lots in zip(held.instrument.tolist(), held.lots.tolist(), strict=True):
        one = terms[at]
        if one["kind"] not in ("future", "perpetual"):
            continue
        start, end = (float(run.instruments["forward"][at]) for run in (was, now))
        index = now.manifest["index"]
        gain = {
            "linear": end - start,
            "inverse": (1.0 / start - 1.0 / end) * index[one["underlying"]],
            "quanto": (end - start) * index.get(one["settlement_currency"], 0.0),
        }[one["settlement"]]
        total += lots * one["lot_size"] * one["multiplier"] * gain
    return total


def changed_book(book, folder):
    """The book without its first account, with a deposit in the second and a new one at the end."""
    count = book.accounts
    accounts = book.account_table(0, count).to_pylist()[1:]
    accounts.append({"account": "acc-new", "member": 0, "margin_mode": 1})
    held = book.position_slice(0, count)
    owner = np.repeat(np.arange(count), np.diff(held.offsets))
    assert not (owner == 0).any()
    assets = book.collateral_slice(0, count)
    keeper = np.repeat(np.arange(count), np.diff(assets.offsets))
    amounts = {
        (int(one), int(asset)): float(quantity)
        for one, asset, quantity in zip(keeper, assets.asset, assets.quantity, strict=True)
        if one > 0
    }
    amounts[(1, 0)] = amounts.get((1, 0), 0.0) + 1_000.0
    amounts[(count, 0)] = 50.0
    rows = [(one - 1, asset, quantity) for (one, asset), quantity in sorted(amounts.items())]
    columns = [list(column) for column in zip(*rows, strict=True)]
    with BookWriter(
        folder / "changed", book.name, book.as_of, book.instruments(), book.members(), book.assets()
    ) as writer:
        writer.append(
            pa.Table.from_pylist(accounts, schema=tables.ACCOUNTS.schema),
            pa.table(
                [owner.astype(np.int32) - 1, held.instrument, held.lots],
                schema=tables.POSITIONS.schema,
            ),
            pa.table(columns, schema=tables.COLLATERAL.schema),
        )
        return writer.close()


@pytest.fixture(scope="module")
def later(mixed_book, margin_of, done, tmp_path_factory):
    """A run of the changed book, published beside the first."""
    folder = tmp_path_factory.mktemp("later")
    book = changed_book(mixed_book, folder)
    return margin_of(book, runs=done.request.runs)


def test_what_changed_is_found_by_name(done, later, mixed_book):
    since = margin_calls(later.run, Silent(), previous=done.run, limit=100, spec=SPEC)["since"]
    assert (since["new"], since["gone"]) == (1, 1)
    assert since["previous_run_id"] == done.run.run_id
    # One deposit, at the same prices: all of the change is a flow.
    assert since["equity_change"] == pytest.approx(1_000.0)
    assert since["flows"] == pytest.approx(1_000.0)
    assert since["variation_margin"] == since["collateral_pnl"] == 0.0
    assert since["requirement_change"] == pytest.approx(0.0, abs=1e-6)
    for one in since["accounts"]:
        assert (one["account"], one["changed_because"]) == ("acc-001", "equity")


def test_the_run_before_is_the_newest_earlier_of_the_book(done, later):
    assert run_before(done.store, later.run).run_id == done.run.run_id
    assert run_before(done.store, done.run) is None


def with_book(run, **changes):
    """The run as if it had been made of another book."""
    manifest = copy.deepcopy(run.manifest)
    manifest["inputs"]["book"] |= changes
    return dataclasses.replace(run, manifest=manifest)


def test_runs_of_two_books_are_not_compared(done):
    with pytest.raises(NothingBefore, match=r"of book 'other'.*compare two runs of one book"):
        margin_calls(done.run, Silent(), previous=with_book(done.run, name="other"))


def test_a_book_that_changed_is_refused(done):
    other = with_book(done.run, digest="0" * 64)
    for run, previous in ((other, None), (done.run, other)):
        with pytest.raises(BookChanged, match="bring back the book"):
            margin_calls(run, Silent(), previous=previous)


def test_a_run_without_maintenance_is_refused(done):
    old = dataclasses.replace(
        done.run, groups={**done.run.groups, "accounts": done.run.accounts.drop_vars("maintenance")}
    )
    for arguments in ({"previous": old}, {}):
        with pytest.raises(RunTooOld, match="an earlier version made it"):
            margin_calls(done.run if arguments else old, Silent(), **arguments)
