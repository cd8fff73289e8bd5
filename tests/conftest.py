"""What many tests share: a small methodology, small books, and a margin run in one call."""

import copy
import dataclasses
import os
import pickle
import shutil
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import hypothesis
import numpy as np
import pyarrow as pa
import pytest

from risk.approval import Approval, content_digest, with_approval
from storage import tables
from storage.arrays import POOL
from storage.book import Book, BookWriter, canonical_instruments
from storage.claims import Claims
from storage.market import sample_market
from storage.runs import Run, RunStore, StoredRun
from tests.processes import BIN, clean_environment, run
from tests.s3 import s3_server, set_s3_environment
from workers import chains, scenarios
from workers.claims.generate import generate_claims
from workers.engine import SerialEngine
from workers.generate import generate_book
from workers.margin_run import MarginRun
from workers.plan import RunRequest, identify
from workers.pool.request import PoolRequest
from workers.pool.run import PoolRun

# No case fails for the time it took. A build server tries the same cases each time; a person who
# runs the tests tries others.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "build server", hypothesis.settings.get_profile("untimed"), derandomize=True
)
hypothesis.settings.load_profile("build server" if "CI" in os.environ else "untimed")

# Nothing that a test starts may look at, or write to, the settings of the person who runs it.
for name in [name for name in os.environ if name.startswith("MARGINCUBE_")]:
    del os.environ[name]

VOLATILITY_TENOR = """[volatility_tenor]
reference_days = 30.0
short_power = 0.30
long_power = 0.13
floor_days = 1.0
minimum_volatility = 0.05
"""
"""How volatility shocks reach other tenors, in the rule books of tests."""

SMALL_METHODOLOGY = (
    """
name = "small"
version = "1"
effective = 2026-01-01
title = "Every measure and layer over few scenarios"
sources = ["made up for tests"]

maintenance_factor = 0.8

[netting]
isolated = "position"
cross = "settlement_currency"
portfolio = "account"

"""
    + VOLATILITY_TENOR
    + """
[historical]
holding_period_hours = 48
step_hours = 35
# June 2022, and no hour without a close.
start = 2022-05-20T00:00:00Z
end = 2022-07-10T00:00:00Z
volatility_half_life_hours = 96.0

[grid]
price_range = 0.16
buckets = 1
volatility_up = 0.50
volatility_down = 0.25
extreme_moves = [-0.66, 1.00]

[[measures]]
name = "expected_shortfall"
kind = "expected_shortfall"
origins = ["historical"]
level = 0.9
layer = "base"

[[measures]]
name = "worst_loss"
kind = "worst_loss"
origins = ["grid", "event"]
layer = "stress"

[[measures]]
name = "value_at_risk"
kind = "value_at_risk"
origins = ["historical"]
level = 0.95

[[charges]]
layer = "short_option"
role = "floor"
kinds = ["option"]
side = "short"
initial = 0.10
maintenance = 0.08
"""
)


def approved(text: str) -> str:
    """A model's text with an approval of it."""
    return with_approval(
        text,
        Approval(
            owner="the desk of the tests",
            approved_by="the tests",
            approved_until=date(2024, 12, 31),
            content=content_digest(text),
        ),
    )


SMALL_METHODOLOGY = approved(SMALL_METHODOLOGY)


@pytest.fixture(scope="session", autouse=True)
def made_once() -> Iterator[None]:
    """Fit the same quotes, and draw the same history, once: most runs of tests share a market."""
    with pytest.MonkeyPatch.context() as patched:
        for module, name in ((chains, "fit_chain"), (scenarios, "historical_scenarios")):
            patched.setattr(module, name, remembered(getattr(module, name)))
        yield


def remembered(function: Callable) -> Callable:
    """A pure function that answers from memory where it was asked the same, to the bit."""
    known: dict[bytes, object] = {}

    def answer(*asked: object) -> object:
        key = pickle.dumps(asked)
        if key not in known:
            known[key] = function(*asked)
        return copy.deepcopy(known[key])

    return answer


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory) -> Iterator[str]:
    """The address of an S3 server on the loopback, which asks nobody who he is."""
    with s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint, monkeypatch) -> str:
    """A new bucket that the environment leads to."""
    set_s3_environment(monkeypatch, s3_endpoint, "key of a test", "secret of a test")
    name = f"margin-{uuid.uuid4().hex}"
    request = urllib.request.Request(f"{s3_endpoint}/{name}", method="PUT")
    urllib.request.urlopen(request).close()
    return name


@pytest.fixture(scope="session")
def small_methodology(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("methodology") / "small.toml"
    path.write_text(SMALL_METHODOLOGY)
    return path


@pytest.fixture(scope="session")
def synthetic_book(tmp_path_factory) -> Callable[[int], Book]:
    """Return a function that makes, once, the synthetic book of so many accounts."""
    made: dict[int, Book] = {}
    folder = tmp_path_factory.mktemp("books")

    def book_of(accounts: int) -> Book:
        if accounts not in made:
            made[accounts] = generate_book(
                folder / f"b{accounts}", accounts, 3, sample_market(), name=f"b{accounts}"
            )
        return made[accounts]

    return book_of


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory) -> Callable[[Path], str]:
    """Return a function that makes a folder whose database Prefect need not migrate first."""
    migrated = tmp_path_factory.mktemp("prefect")
    env = clean_environment(PREFECT_HOME=str(migrated), PREFECT_SERVER_ANALYTICS_ENABLED="false")
    command = (BIN / "prefect", "server", "database", "upgrade", "--yes")
    done = run(*command, env=env, cwd=migrated)
    assert done.returncode == 0, done.stdout + done.stderr

    def home(folder: Path) -> str:
        return str(shutil.copytree(migrated, folder))

    return home


SOON = datetime(2024, 1, 26, 8, tzinfo=UTC)
LATER = datetime(2024, 6, 28, 8, tzinfo=UTC)

# kind, settlement, underlying, settlement currency, expiry, strike, type, multiplier, lot, place
MIXED_INSTRUMENTS = [
    ("perpetual", "linear", "BTC", "USD", None, None, None, 1.0, 0.001, "v1", "none", "none"),
    ("perpetual", "linear", "ETH", "USD", None, None, None, 1.0, 0.01, "v2", "p1", "c1"),
    ("perpetual", "inverse", "BTC", "BTC", None, None, None, 10.0, 1.0, "v1", "none", "none"),
    ("perpetual", "quanto", "SOL", "ETH", None, None, None, 0.001, 1.0, "v1", "none", "none"),
    ("future", "linear", "ETH", "USD", SOON, None, None, 1.0, 0.1, "v1", "none", "none"),
    ("future", "inverse", "ETH", "ETH", LATER, None, None, 100.0, 1.0, "v1", "none", "none"),
    ("spot", "linear", "ETH", "USD", None, None, None, 1.0, 0.01, "v2", "p2", "c2"),
    ("spot", "linear", "SOL", "USD", None, None, None, 1.0, 0.1, "v2", "p1", "c1"),
    ("option", "inverse", "ETH", "ETH", SOON, 2300.0, "call", 1.0, 1.0, "v1", "none", "none"),
    ("option", "inverse", "ETH", "ETH", SOON, 2000.0, "put", 1.0, 1.0, "v1", "none", "none"),
    ("option", "linear", "ETH", "USD", LATER, 2500.0, "call", 1.0, 0.1, "v2", "p1", "c2"),
    ("option", "linear", "ETH", "USD", LATER, 6000.0, "call", 1.0, 0.1, "v2", "p1", "c2"),
    ("option", "linear", "ETH", "USD", SOON, 12_000.0, "call", 1.0, 0.1, "v2", "p1", "c2"),
    # No chain of options on SOL, and no peg of another currency: these have no price.
    ("option", "linear", "SOL", "USD", SOON, 100.0, "call", 1.0, 1.0, "v2", "p1", "c2"),
    ("perpetual", "linear", "ETH", "EUR", None, None, None, 1.0, 1.0, "v1", "none", "none"),
]
MIXED_ACCOUNTS = 60


def _mixed_instruments() -> pa.Table:
    names = [column.name for column in tables.INSTRUMENTS.columns][1:]
    rows = [
        {"instrument": f"I{number:02d}", **dict(zip(names, terms, strict=True))}
        for number, terms in enumerate(MIXED_INSTRUMENTS)
    ]
    return canonical_instruments(pa.Table.from_pylist(rows, schema=tables.INSTRUMENTS.schema))


def _mixed_holdings(names: list[str]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Random accounts of every mode; the last one holds the other side of all of them."""
    rng = np.random.default_rng(20240108)
    unpriced = [names.index("I13"), names.index("I14")]
    positions, collateral = [], []
    for account in range(MIXED_ACCOUNTS - 1):
        count = int(rng.integers(0, 7)) if account % 10 else 0
        chosen = np.sort(rng.choice(len(names), count, replace=False)).tolist()
        positions += [
            (account, row, int(rng.integers(1, 40) * rng.choice([-1, 1])))
            for row in chosen
            if row not in unpriced
        ]
        for asset in np.sort(rng.choice(3, int(rng.integers(0, 3)), replace=False)).tolist():
            amount = float(np.round(rng.exponential([4_000.0, 0.5, 3.0][asset]), 4))
            collateral.append((account, asset, amount))
    collateral += [(31, 3, 50.0)]
    collateral.sort()
    # Two accounts hold both sides of what has no price.
    positions += [(account, row, lots) for row in unpriced for account, lots in ((7, 1), (23, -1))]
    # One is short nothing but a call that hardly moves, on which the minimum is charged.
    positions.append((30, names.index("I12"), -50))
    rows = sorted(positions)
    net = np.zeros(len(names), dtype=np.int64)
    for _, row, lots in rows:
        net[row] += lots
    rows += [(MIXED_ACCOUNTS - 1, row, -int(net[row])) for row in np.flatnonzero(net).tolist()]
    modes = rng.integers(0, 3, MIXED_ACCOUNTS).tolist()
    accounts = [
        {"account": f"acc-{number:03d}", "member": number % 4, "margin_mode": modes[number]}
        for number in range(MIXED_ACCOUNTS)
    ]
    return (
        pa.Table.from_pylist(accounts, schema=tables.ACCOUNTS.schema),
        _columns(rows, tables.POSITIONS.schema),
        _columns(collateral, tables.COLLATERAL.schema),
    )


def _columns(rows: list[tuple], schema: pa.Schema) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)


@pytest.fixture(scope="session")
def mixed_book_at(tmp_path_factory) -> Callable[[datetime], Book]:
    """Return a function that writes the mixed book as of an instant."""

    def write(as_of: datetime) -> Book:
        instruments = _mixed_instruments()
        members = [{"member": f"m{number}", "default_fund": 1e6} for number in range(4)]
        assets = [
            ("CASH", "none", "none", "USD", 0.0),
            ("WBTC", "c1", "p1", "BTC", 0.25),
            ("WETH", "c1", "p1", "ETH", 0.17),
            ("WXYZ", "c1", "p1", "XYZ", 0.5),
        ]
        held = pa.table(
            {"account": pa.array([12, 40], pa.int32()), "code": ["LOTS_FRACTION", "SIGN"]}
        )
        with BookWriter(
            tmp_path_factory.mktemp("mixed") / "book",
            "mixed",
            as_of,
            instruments,
            pa.Table.from_pylist(members, schema=tables.MEMBERS.schema),
            _columns(assets, tables.ASSETS.schema),
        ) as writer:
            writer.append(*_mixed_holdings(instruments["instrument"].to_pylist()))
            return writer.close(held=held)

    return write


@pytest.fixture(scope="session")
def mixed_book(mixed_book_at) -> Book:
    """Sixty accounts of every mode with every kind of instrument; some lack a price, two a row."""
    return mixed_book_at(sample_market().as_of)


@dataclasses.dataclass(frozen=True)
class Done:
    """A run that a test made."""

    run: Run
    store: RunStore
    request: RunRequest

    @property
    def digest(self) -> str:
        return self.run.manifest["digest"]


@pytest.fixture(scope="session")
def margin_of(small_methodology, tmp_path_factory) -> Callable[..., Done]:
    """Return a function that margins a book and publishes the run, serially unless told.

    A run without an engine and a place of its own is computed once in a session, and copied.
    """
    made: dict[tuple[str, str], Path] = {}

    def margin(book: Book, *, engine=None, fold=None, runs=None, **options) -> Done:
        request = RunRequest(
            book=book.location,
            runs=runs or tmp_path_factory.mktemp("runs"),
            **{"methodology": str(small_methodology), **options},
        )
        usual = engine is fold is runs is None
        asked = identify(request).key, f"{book.location} {options}"
        if usual and asked in made:
            shutil.copytree(made[asked], request.runs, dirs_exist_ok=True)
        engine = engine or SerialEngine()
        fold = fold or SerialEngine()
        with MarginRun(request, lambda: engine, lambda: fold) as run:
            if not run.prepare():
                run.compute()
                run.publish()
        if usual and asked not in made:
            made[asked] = shutil.copytree(request.runs, tmp_path_factory.mktemp("made") / "runs")
        store = RunStore(request.runs)
        return Done(store.open(run.run_id), store, request)

    return margin


@pytest.fixture(scope="session")
def claims_of(tmp_path_factory) -> Callable[[Book], Claims]:
    """Return a function that generates, once, the claims that a book's collateral is in detail."""
    made: dict[str, Claims] = {}
    folder = tmp_path_factory.mktemp("claims")

    def claims(book: Book) -> Claims:
        if book.digest not in made:
            path = folder / f"{book.name}-claims"
            made[book.digest] = generate_claims(path, book, 11, sample_market(), threads=1)
        return made[book.digest]

    return claims


@dataclasses.dataclass(frozen=True)
class Pooled:
    """A collateral run that a test made."""

    pool: StoredRun
    store: RunStore
    request: PoolRequest

    @property
    def manifest(self) -> dict:
        return self.pool.manifest


@pytest.fixture(scope="session")
def pool_of(tmp_path_factory) -> Callable[..., Pooled]:
    """Return a function that pools claims on a margin run, serially unless told, and publishes."""

    def pooled(done: Done, claims: Claims, *, engine=None, fold=None, pools=None, **options):
        request = PoolRequest(
            run=done.run.run_id,
            claims=claims.location,
            runs=done.request.runs,
            pools=pools or tmp_path_factory.mktemp("pools"),
            **options,
        )
        engine = engine or SerialEngine()
        fold = fold or SerialEngine()
        with PoolRun(request, lambda: engine, lambda: fold) as run:
            if not run.prepare():
                run.compute()
                run.publish()
        store = RunStore(request.pools, POOL)
        return Pooled(store.read(run.run_id), store, request)

    return pooled
