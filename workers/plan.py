"""What a run is: its inputs, the key that they make, and how its work is cut."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.charges import needs_nesting
from risk.instruments import Instruments
from risk.methodology import Methodology
from risk.summation import BLOCK_ACCOUNTS
from storage.book import Book
from storage.digest import text_digest
from storage.market import Market, sample_market
from storage.objects import S3Folder
from storage.staging import Layout
from workers.approval import require_approved
from workers.code_version import code_version
from workers.market import BuiltMarket, build_market
from workers.memory import Projection, Room, Work, fitting_blocks, project
from workers.methodologies import DEFAULT_METHODOLOGY, NamedMethodology, load_methodology
from workers.scenarios import build_scenarios
from workers.shards import Shard, cut, shard_length
from workers.terms import instrument_terms

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What the name of a book may be: it becomes the name of runs, tags and files."""

INSTRUMENT_BLOCK = 128
"""Instruments in one block of the cube."""


class InputsDisagree(ValueError):
    """The inputs of a run are of different instants."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is to be made of, and how its work is to be cut.

    Book, market, methodology, events and netting decide the numbers; the rest only how fast they
    come. ``netting`` is a margin mode for all accounts, whatever they chose. ``since`` names a
    published run: what depends on nothing that changed is kept from it, to the same bits.
    ``unapproved`` takes a methodology that is not approved on the day, ``reason`` says why it runs.
    A run that holds back a larger part of accounts, or of collateral, than ``most_held_back`` and
    ``most_money_held_back`` say is not published.
    """

    book: Path | S3Folder
    market: Path | None = None
    methodology: str = DEFAULT_METHODOLOGY
    events: str | None = None
    netting: str | None = None
    since: str | None = None
    runs: Path | S3Folder = Path("margincube-data/runs")
    shards: int | None = None
    threads: int = 1
    workers: int = 1
    unapproved: bool = False
    reason: str | None = None
    most_held_back: float | None = None
    most_money_held_back: float | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Which run a request means: the same inputs and the same code are the same run."""

    run_id: str
    key: str
    book: Book
    market: Market
    named: NamedMethodology


def identify(request: RunRequest) -> Identity:
    """Open the inputs of a run and name it.

    Raises:
        InputsDisagree: book and market are of different instants.
        ModelNotApproved: the methodology is not, and is not asked for all the same.
        ValueError: an input is not usable; the message says which and why.
    """
    book = Book.open(request.book)
    if not PLAIN_NAME.fullmatch(book.name):
        raise ValueError(
            f"book name {book.name!r} cannot name a run; use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    market = Market.open(request.market) if request.market else sample_market()
    if book.as_of != market.as_of:
        raise InputsDisagree(
            f"ASOF_MISMATCH: book {book.name} is of {book.as_of.isoformat()}, market "
            f"{market.name} of {market.as_of.isoformat()}; both must be of one instant"
        )
    named = load_methodology(request.methodology, request.events, request.netting)
    require_approved(named.standing(market.as_of), unapproved=request.unapproved)
    key = text_digest(book.digest, market.digest, named.digest, code_version())
    return Identity(f"{book.name}-{market.as_of:%Y%m%d}-{key[:12]}", key, book, market, named)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a run before anything is priced."""

    identity: Identity
    scenarios: xr.Dataset
    built: BuiltMarket
    instruments: Instruments
    lot_size: NDArray[np.float64]
    shards: list[Shard]
    blocks: list[Shard]
    layout: Layout
    work: Work
    rooms: Sequence[Room]

    @property
    def book(self) -> Book:
        """The book that is margined."""
        return self.identity.book

    @property
    def methodology(self) -> Methodology:
        """The rules by which it is margined."""
        return self.identity.named.methodology

    @property
    def projection(self) -> Projection:
        """What the run takes at its peak."""
        return project(self.work, self.layout.chunks["block"], self.rooms)

    @property
    def index(self) -> dict[str, float]:
        """The price of each coin of the market, USD."""
        return dict(zip(self.built.underlyings, self.built.state.index.tolist(), strict=True))


def make_plan(identity: Identity, request: RunRequest, rooms: Sequence[Room]) -> Plan:
    """Build market and scenarios, and cut the accounts and the cube so that tasks fit the rooms.

    Raises:
        TooLargeForMemory: the plan does not fit into memory.
        ValueError: market or scenarios cannot be built; the message says why.
    """
    book, methodology = identity.book, identity.named.methodology
    table = book.instruments()
    built = build_market(identity.market, table)
    scenarios = build_scenarios(identity.market, methodology)
    instruments = instrument_terms(table, built.underlyings, identity.market.as_of)
    work = _work(book, methodology, len(instruments), scenarios.sizes["scenario"], request)
    usual = shard_length(book.accounts, request.shards) // BLOCK_ACCOUNTS
    blocks = fitting_blocks(work, rooms, usual, asked=request.shards is not None)
    length = blocks * BLOCK_ACCOUNTS
    layout = Layout(
        sizes={
            "account": book.accounts,
            "block": -(-book.accounts // BLOCK_ACCOUNTS),
            "instrument": len(instruments),
            "scenario": scenarios.sizes["scenario"],
            "layer": len(methodology.layers),
            "measure": len(methodology.measured),
        },
        chunks={
            "account": length,
            "block": blocks,
            "instrument": INSTRUMENT_BLOCK,
        },
        labels={
            "instrument": table["instrument"].to_pylist(),
            "scenario": scenarios["scenario"].values.tolist(),
            "layer": methodology.layers,
            "measure": methodology.measured,
        },
    )
    return Plan(
        identity=identity,
        scenarios=scenarios,
        built=built,
        instruments=instruments,
        lot_size=table["lot_size"].to_numpy(),
        shards=cut(book.accounts, length),
        blocks=cut(len(instruments), INSTRUMENT_BLOCK),
        layout=layout,
        work=work,
        rooms=rooms,
    )


def _work(
    book: Book, methodology: Methodology, instruments: int, scenarios: int, request: RunRequest
) -> Work:
    """Return what the memory of a run depends on."""
    starts = np.arange(0, book.accounts, BLOCK_ACCOUNTS)
    return Work(
        accounts=np.minimum(book.accounts - starts, BLOCK_ACCOUNTS),
        positions=book.block_positions(),
        instruments=instruments,
        scenarios=scenarios,
        measures=len(methodology.measured),
        layers=len(methodology.layers),
        nested=methodology.scan is not None or needs_nesting(methodology.charges),
        earlier=request.since is not None,
        threads=request.threads,
    )
