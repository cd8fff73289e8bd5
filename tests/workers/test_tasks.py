"""The two wide tasks: what they read, what they write, and that they may be done again."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from risk.summation import BLOCK_ACCOUNTS
from storage.book import Book
from storage.staging import Fork
from workers.engine import SerialEngine
from workers.margin_run import MarginRun
from workers.plan import RunRequest
from workers.shards import Shard, cut, shard_length
from workers.tasks import margin_shard, price_block, read_holdings


def test_shards_are_whole_blocks_and_cover_every_account():
    for accounts in (1, 4_095, 4_096, 4_097, 28_000, 262_144, 1_000_003):
        blocks = -(-accounts // BLOCK_ACCOUNTS)
        for shards in (None, 1, 2, 7, 64, 10_000):
            length = shard_length(accounts, shards)
            assert length % BLOCK_ACCOUNTS == 0
            made = cut(accounts, length)
            assert [one.index for one in made] == list(range(len(made)))
            assert made[0].start == 0
            assert made[-1].stop == accounts
            assert all(a.stop == b.start for a, b in itertools.pairwise(made))
            if shards is not None:
                assert len(made) <= min(shards, blocks)
    with pytest.raises(ValueError, match="shards is 0; allowed is 1 or more"):
        shard_length(10, 0)


def test_holdings_of_a_run_of_accounts_are_those_of_the_whole(mixed_book):
    lot = mixed_book.instruments()["lot_size"].to_numpy()
    value, priced = np.array([1.0, 2.0, 4.0, 0.0]), np.array([True, True, True, False])
    whole = read_holdings(mixed_book, Shard(0, 0, 60), lot, value, priced)
    assert whole.held.nonzero()[0].tolist() == [12, 31, 40]
    for account in range(60):
        one = read_holdings(mixed_book, Shard(0, account, account + 1), lot, value, priced)
        inside = slice(whole.offsets[account], whole.offsets[account + 1])
        assert one.instrument.tolist() == whole.instrument[inside].tolist()
        assert one.quantity.tolist() == whole.quantity[inside].tolist()
        assert one.collateral[0] == whole.collateral[account]
        assert (one.held[0], one.margin_mode[0]) == (
            whole.held[account],
            whole.margin_mode[account],
        )
        held = mixed_book.collateral_slice(account, account + 1)
        assert one.collateral[0] == pytest.approx(float((value[held.asset] * held.quantity).sum()))
    positions = mixed_book.position_slice(0, 60)
    assert (whole.quantity == positions.lots * lot[positions.instrument]).all()


class Caught(Fork):
    """A fork that keeps what is written to it."""

    def __init__(self):
        self.rows = []

    def write(self, group, arrays, start):
        self.rows.append((group, start, arrays))


@pytest.fixture(scope="module")
def inputs(synthetic_book, small_methodology, tmp_path_factory):
    """The shared inputs of both tasks, as a run hands them out."""

    class Keeping(SerialEngine):
        def __init__(self):
            self.shared = {}

        def map(self, function, shared, items):
            self.shared[function.__name__] = shared
            return super().map(function, shared, items)

    engine = Keeping()
    request = RunRequest(
        book=synthetic_book(9_000).path,
        methodology=str(small_methodology),
        runs=tmp_path_factory.mktemp("tasks"),
        shards=3,
    )
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        run.prepare()
        run.price()
        run.margin()
    return engine.shared


def written(function, given, item):
    """Return what a task writes, without a store."""
    fork = Caught()
    result = function(dataclasses.replace(given, fork=fork), item)
    assert result.fork is fork
    assert result.shard == item
    return result, fork.rows


def test_a_task_that_is_done_again_writes_the_same_bits(inputs):
    for function, item in ((price_block, Shard(1, 128, 256)), (margin_shard, Shard(2, 8192, 9000))):
        given = inputs[function.__name__]
        first, rows = written(function, given, item)
        again, same = written(function, given, item)
        assert first.items == again.items > 0
        for (group, start, arrays), (other, begin, others) in zip(rows, same, strict=True):
            assert (group, start) == (other, begin)
            assert arrays.keys() == others.keys()
            for name in arrays:
                assert arrays[name].tobytes() == others[name].tobytes()


def test_a_shard_writes_its_own_rows_and_its_blocks(inputs):
    result, rows = written(margin_shard, inputs["margin_shard"], Shard(2, 8192, 9000))
    assert [(group, start) for group, start, _ in rows] == [("accounts", 8192), ("blocks", 2)]
    assert {len(values) for values in rows[0][2].values()} == {808}
    assert {len(values) for values in rows[1][2].values()} == {1}
    assert (result.items, result.kept) == (808, 0)
    assert result.busy_seconds > 0.0


def test_two_blocks_of_the_cube_are_the_cube(inputs):
    given = inputs["price_block"]
    parts = [
        written(price_block, given, Shard(n, *b))[1][0]
        for n, b in enumerate(((0, 128), (128, 256)))
    ]
    _, whole = written(price_block, given, Shard(0, 0, 256))
    joined = np.concatenate([arrays["pnl"] for _, _, arrays in parts])
    assert joined.tobytes() == whole[0][2]["pnl"].tobytes()


def test_a_book_that_is_another_one_now_is_refused(inputs, mixed_book):
    given = dataclasses.replace(inputs["margin_shard"], book=Path(mixed_book.path))
    with pytest.raises(ValueError, match="a book must not change under a run"):
        written(margin_shard, given, Shard(0, 0, 60))
    assert Book.open(mixed_book.path).digest != given.book_digest
