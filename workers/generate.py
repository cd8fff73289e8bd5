"""Generate a synthetic book over a real market, streaming: memory does not grow with it."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, Settlement, unit_notional
from risk.revaluation import VolatilityTenor, contract_value, revalue
from risk.synthetic import (
    Block,
    Profile,
    Universe,
    Vaults,
    draw_clients,
    draw_makers,
    maker_count,
    maker_flow,
)
from risk.synthetic.accounts import member_shares
from risk.synthetic.moves import OPENING_WEIGHT, opening_moves
from risk.synthetic.positions import position_limits
from risk.synthetic.universe import target_scale
from storage.book import BLOCK_ACCOUNTS, Book, BookWriter
from storage.market import Market
from storage.tables import ACCOUNTS, COLLATERAL, POSITIONS
from workers.listings import (
    MEMBER_COUNT,
    asset_shares,
    list_assets,
    list_instruments,
    list_members,
    reference_open_interest,
    relative_open_interest,
)
from workers.market import build_market
from workers.terms import instrument_terms

Drawn = TypeVar("Drawn")

Progress = Callable[[int, int], None]
"""Called with the accounts written so far and the accounts in all."""

TARGET_NOTIONAL = {Kind.PERPETUAL: 22_000.0, Kind.FUTURE: 4_500.0, Kind.SPOT: 9_000.0}
"""Open interest aimed for, one side, USD per account of the book; choice."""

SHORT_OPTION_CHARGE = 0.02
"""Least opening margin of a short option, as a fraction of its notional; choice."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a synthetic book is drawn from, and the reference tables it is written with."""

    universe: Universe
    vaults: Vaults
    member: NDArray[np.float64]
    instruments: pa.Table
    assets: pa.Table
    members: pa.Table


def generate_book(
    path: Path | str,
    accounts: int,
    seed: int,
    market: Market,
    *,
    name: str | None = None,
    profile: Profile | None = None,
    threads: int = 2,
    progress: Progress | None = None,
) -> Book:
    """Generate a book of so many accounts and return it, opened.

    The bytes depend on accounts, seed, market and profile only: blocks are drawn from their own
    random streams, in any number of threads, and written in order. Market makers come last,
    because they hold what the clients leave.

    Raises:
        ValueError: no accounts, more than fit the format, or a seed out of range.
        BookExists: there is a book at the path.
    """
    if not 1 <= accounts < 1 << 31:
        raise ValueError(f"accounts {accounts} is out of range; allowed is 1 to {(1 << 31) - 1}")
    profile = profile or Profile()
    report = progress or (lambda done, total: None)
    makers = maker_count(accounts, profile)
    clients = accounts - makers
    ground = prepare_ground(market, accounts)
    limits = position_limits(ground.universe, accounts, profile)
    if not makers:
        limits = np.zeros_like(limits)

    drawn_from = (ground.universe, limits, ground.vaults, ground.member, profile)

    def draw(block: int) -> Block:
        whole = draw_clients(seed, block, BLOCK_ACCOUNTS, *drawn_from)
        return whole.first(min(clients - block * BLOCK_ACCOUNTS, BLOCK_ACCOUNTS))

    tables = (ground.instruments, ground.members, ground.assets)
    with BookWriter(path, name or Path(path).name, market.as_of, *tables) as writer:
        for block in in_order(draw, -(-clients // BLOCK_ACCOUNTS), threads):
            _append(writer, block, "A-", writer.accounts)
            report(writer.accounts, accounts)
        scale = 0.0
        if makers:
            long = writer.long_lots
            flow, scale = maker_flow(long, long - writer.net_lots, makers, ground.universe)
            drawn = (ground.universe, ground.vaults, ground.member, profile)
            for block in draw_makers(seed, makers, flow, *drawn):
                _append(writer, block, "M-", writer.accounts - clients)
                report(writer.accounts, accounts)
        return writer.close(
            source={
                "generator": "synthetic",
                "seed": seed,
                "market": market.digest,
                "market_makers": makers,
                "option_open_interest_over_chain": scale,
                "profile": _plain(asdict(profile)),
            }
        )


def in_order(draw: Callable[[int], Drawn], blocks: int, threads: int) -> Iterator[Drawn]:
    """Yield the blocks in order, drawn by so many threads, never more than a few ahead."""
    if threads <= 1:
        yield from map(draw, range(blocks))
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Drawn]] = deque()
        for number in range(blocks):
            ahead.append(pool.submit(draw, number))
            if len(ahead) > threads + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def prepare_ground(market: Market, accounts: int) -> Ground:
    """Return what a book of so many accounts on a market is drawn from."""
    quotes = market.quotes()
    instruments = list_instruments(quotes, market.underlyings, market.as_of)
    built = build_market(market, instruments)
    terms = instrument_terms(instruments, built.underlyings, market.as_of)
    lot = instruments["lot_size"].to_numpy()
    notional = lot * unit_notional(terms, built.state.index)
    reference = reference_open_interest(instruments, quotes) * built.state.priced
    target = reference * target_scale(accounts)
    relative = relative_open_interest(instruments) * built.state.priced
    for kind, each in TARGET_NOTIONAL.items():
        rows = terms.kind == kind
        total = relative[rows].sum()
        target[rows] = each * accounts * relative[rows] / max(total, 1e-300) / notional[rows]
        target[rows] = np.maximum(target[rows], 1.0 * (relative[rows] > 0.0))
    moves = opening_moves(built.underlyings)
    currency = instruments["settlement_currency"].combine_chunks().dictionary_encode()
    option = terms.kind == Kind.OPTION
    universe = Universe(
        group=_groups(terms),
        settlement=currency.indices.to_numpy().astype(np.int32),
        is_call=terms.is_call,
        notional=notional,
        value=lot * contract_value(terms, built.state),
        gain=lot[:, None] * OPENING_WEIGHT * revalue(terms, built.state, moves, VolatilityTenor()),
        short_charge=np.where(option, SHORT_OPTION_CHARGE * notional, 0.0),
        target=np.rint(target).astype(np.int64),
        reference=reference,
    )
    assets = list_assets(market.as_of)
    price = {"USD": 1.0} | {coin: market.index[coin].price for coin in market.underlyings}
    share, home = asset_shares(assets)
    vaults = Vaults(
        price=np.array([price[coin] for coin in assets["underlying"].to_pylist()]),
        haircut=assets["haircut"].to_numpy(),
        share=share,
        home=home,
    )
    member = member_shares(MEMBER_COUNT)
    members = list_members(member[1], accounts)
    return Ground(universe, vaults, member, instruments, assets, members)


def _groups(terms: Instruments) -> NDArray[np.int8]:
    """Return the row of ``risk.synthetic.profile.GROUPS`` of each instrument."""
    of_kind = {Kind.SPOT: 4, Kind.FUTURE: 3, Kind.PERPETUAL: 2, Kind.OPTION: 0}
    group = np.array([of_kind[Kind(kind)] for kind in terms.kind], dtype=np.int8)
    linear = (terms.kind == Kind.OPTION) & (terms.settlement == Settlement.LINEAR)
    group[linear] = 1
    return group


def _append(writer: BookWriter, block: Block, prefix: str, number: int) -> None:
    """Write a block; its accounts are named by the prefix and a number counted from ``number``."""
    first = writer.accounts
    numbers = pa.array(np.arange(number, number + len(block))).cast(pa.string())
    drawn = block.positions
    writer.append(
        pa.table(
            {
                "account": pc.binary_join_element_wise(prefix, pc.utf8_lpad(numbers, 10, "0"), ""),
                "member": block.member,
                "margin_mode": block.mode,
            },
            schema=ACCOUNTS.schema,
        ),
        pa.table(
            {
                "account": (drawn.owner + first).astype(np.int32),
                "instrument": drawn.instrument,
                "lots": drawn.lots,
            },
            schema=POSITIONS.schema,
        ),
        pa.table(
            {
                "account": (block.collateral_owner + first).astype(np.int32),
                "asset": block.asset,
                "quantity": block.quantity,
            },
            schema=COLLATERAL.schema,
        ),
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in values.items()
    }
