"""A generated book has the real chain's shape, balances, and is the same however it is drawn."""

import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from storage.book import BLOCK_ACCOUNTS, BookExists
from storage.market import sample_market
from workers.generate import generate_book, in_order, prepare_ground
from workers.listings import LENDING, list_assets, list_instruments, reference_open_interest

ROOT = Path(__file__).parents[2]
ACCOUNTS = 3 * BLOCK_ACCOUNTS + 1000


@pytest.fixture(scope="module")
def market():
    return sample_market()


@pytest.fixture(scope="module")
def book(market, tmp_path_factory):
    return generate_book(tmp_path_factory.mktemp("book") / "book", ACCOUNTS, 7, market, threads=1)


def files(book):
    return {
        path.relative_to(book.path): path.read_bytes()
        for path in book.path.rglob("*")
        if path.is_file()
    }


def test_every_instrument_sums_to_zero(book):
    held = book.position_slice(0, book.accounts)
    net = np.zeros(len(book.instruments()), dtype=np.int64)
    np.add.at(net, held.instrument, held.lots)
    assert not net.any()
    long = np.zeros_like(net)
    np.add.at(long, held.instrument, np.maximum(held.lots, 0))
    assert long.tolist() == book.manifest["long_lots"]


def test_open_interest_is_the_chains_times_one_scale(book, market):
    real = reference_open_interest(book.instruments(), market.quotes())
    found = np.array(book.manifest["long_lots"])
    known = real > 0.0
    assert known.sum() > 500
    scale = book.manifest["source"]["option_open_interest_over_chain"]
    np.testing.assert_array_equal(found[known], np.rint(real[known] * scale))
    option = pc.equal(book.instruments()["kind"], "option").to_numpy(zero_copy_only=False)
    assert not found[option & ~known].any()
    assert found[~option].min() > 0


def test_every_kind_settlement_mode_and_place_is_there(book):
    instruments = book.instruments()
    held = book.position_slice(0, book.accounts)
    traded = instruments.take(np.unique(held.instrument))
    kinds = traded.group_by(["kind", "settlement"]).aggregate([]).to_pylist()
    assert {tuple(row.values()) for row in kinds} == {
        ("spot", "linear"),
        ("future", "linear"),
        ("future", "inverse"),
        ("perpetual", "linear"),
        ("perpetual", "inverse"),
        ("perpetual", "quanto"),
        ("option", "inverse"),
        ("option", "linear"),
    }
    assert len(traded["venue"].unique()) == 6
    assert set(traded["chain"].to_pylist()) == {"none", "Arbitrum", "Optimism", "Solana"}
    assert set(traded["underlying"].to_pylist()) == {"BTC", "ETH", "SOL"}
    accounts = book.account_table(0, book.accounts)
    assert set(accounts["margin_mode"].to_pylist()) == {0, 1, 2}
    assert len(accounts["member"].unique()) == 48
    backing = book.collateral_slice(0, book.accounts)
    assert set(backing.asset) == set(range(len(book.assets())))


def test_counts_of_positions(book):
    count = np.diff(book.position_slice(0, book.accounts).offsets)
    clients = count[: -book.manifest["source"]["market_makers"]]
    assert 3 <= np.median(clients) <= 5
    assert 8.0 < count.mean() < 12.0
    assert (clients > 100).sum() > 20
    assert (clients == 0).mean() < 0.15


def test_nobody_dominates(book, market):
    ground = prepare_ground(market, book.accounts)
    clients = book.accounts - book.manifest["source"]["market_makers"]
    held = book.position_slice(0, clients)
    limit = 0.02 + 2.0 / np.sqrt(book.accounts)
    most = np.maximum(ground.universe.target * limit, 1.0)[held.instrument]
    assert (np.abs(held.lots) <= most).all()


def test_names_ascend_and_makers_come_last(book):
    names = book.account_table(0, book.accounts)["account"].to_pylist()
    assert names == sorted(names)
    assert names[17] == "A-0000000017"
    makers = book.manifest["source"]["market_makers"]
    assert makers == 7
    assert names[-makers:] == [f"M-{i:010d}" for i in range(makers)]
    assert book.account_row("A-0000004096") == 4096


@pytest.mark.parametrize("threads", [2, 5])
def test_bytes_do_not_depend_on_threads(book, market, tmp_path, threads):
    again = generate_book(tmp_path / "book", ACCOUNTS, 7, market, threads=threads)
    assert files(again) == files(book)


def test_another_seed_is_another_book(market, tmp_path):
    one, two = (generate_book(tmp_path / str(seed), 50, seed, market) for seed in (1, 2))
    assert one.digest != two.digest


@pytest.mark.parametrize("accounts", [1, 2, 3, 10, BLOCK_ACCOUNTS + 3])
def test_small_books(market, tmp_path, accounts):
    book = generate_book(tmp_path / "book", accounts, 3, market)
    assert book.accounts == accounts
    assert book.positions > 0 or accounts <= 3
    book.verify()


def test_refusals(market, tmp_path):
    with pytest.raises(ValueError, match="accounts 0 is out of range"):
        generate_book(tmp_path / "book", 0, 1, market)
    with pytest.raises(ValueError, match="seed -1 is out of range"):
        generate_book(tmp_path / "book", 5, -1, market)
    assert list(tmp_path.iterdir()) == []
    generate_book(tmp_path / "book", 2, 1, market)
    with pytest.raises(BookExists):
        generate_book(tmp_path / "book", 2, 1, market)


def test_progress_reaches_the_end(market, tmp_path):
    seen = []
    generate_book(
        tmp_path / "book", 5000, 1, market, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(4096, 5000), (4997, 5000), (5000, 5000)]


def test_in_order_keeps_order_and_raises():
    assert list(in_order(lambda number: number, 9, 3)) == list(range(9))

    def broken(number):
        if number == 4:
            raise ValueError("block 4")
        return number

    with pytest.raises(ValueError, match="block 4"):
        list(in_order(broken, 9, 3))


def test_memory_does_not_grow_with_accounts(market, tmp_path):
    peaks = []
    generate_book(tmp_path / "warm", 10, 1, market, threads=1)
    for blocks in (2, 10):
        tracemalloc.start()
        generate_book(tmp_path / str(blocks), blocks * BLOCK_ACCOUNTS, 1, market, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0]


@pytest.mark.slow
def test_a_million_accounts(tmp_path):
    """Under a minute and under 1 GB on a small machine, all told."""
    script = (
        "import re, sys; from storage.market import sample_market\n"
        "from workers.generate import generate_book\n"
        "book = generate_book(sys.argv[1], 1_000_000, 1, sample_market())\n"
        # The peak that the kernel counts per process begins at that of the process that started it.
        "status = open('/proc/self/status').read()\n"
        "print(book.positions, re.search(r'VmHWM:\\s+(\\d+) kB', status)[1])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "book")],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    positions, kilobytes = map(int, done.stdout.split())
    assert 9e6 < positions < 12e6
    assert kilobytes < 1_000_000
    assert after.ru_utime - before.ru_utime < 60.0


# What is listed.


def test_listed_instruments(market):
    instruments = list_instruments(market.quotes(), market.underlyings, market.as_of)
    names = instruments["instrument"].to_pylist()
    assert len(set(names)) == len(names) == 912
    quoted = {f"ORVANE:{name}" for name in market.quotes()["instrument"].to_pylist()}
    assert quoted < set(names)
    assert "QUILLO:ETH-26JAN24-2400-C" in names
    counts = instruments.group_by("kind").aggregate([([], "count_all")]).to_pylist()
    assert {row["kind"]: row["count_all"] for row in counts} == {
        "option": 684 + 180,
        "future": 22,
        "perpetual": 20,
        "spot": 6,
    }


def test_haircuts_are_one_less_the_real_thresholds(market):
    assets = {
        (row["asset"], row["chain"], row["protocol"]): row["haircut"]
        for row in list_assets(market.as_of).to_pylist()
    }
    # Aave v3 reserve parameters of 2023-10-31: liquidation thresholds 8300, 7800, 8600 of 10000.
    assert assets["WETH", "Ethereum", LENDING] == 0.17
    assert assets["WBTC", "Ethereum", LENDING] == 0.22
    assert assets["USDC", "Arbitrum", LENDING] == 0.14
    assert assets["USD", "none", "none"] == 0.0
    assert {chain for _, chain, _ in assets} >= {"Ethereum", "Arbitrum", "Solana", "none"}


def test_haircuts_of_the_future_are_refused(market):
    with pytest.raises(ValueError, match="FUTURE_DATA"):
        list_assets(market.as_of.replace(year=2022))
