"""Generate claims for every account of a book, streaming: memory does not grow with it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from risk.synthetic.claims import ClaimBlock, ClaimMenu, ClaimProfile, HeldCollateral, draw_claims
from risk.synthetic.draws import sums
from risk.synthetic.plants import Plant, Plants, plan_plants
from storage import tables
from storage.book import BLOCK_ACCOUNTS, PART_ACCOUNTS, Book
from storage.claims import Claims, ClaimsWriter
from storage.market import Market
from workers.claims.references import prepare_claims
from workers.generate import in_order

Progress = Callable[[int, int], None]
"""Called with the accounts written so far and the accounts in all."""

LEAST_PLANTED = 100.0
"""USD of collateral of an account whose claims may be planted; choice."""


def generate_claims(
    path: Path | str,
    book: Book,
    seed: int,
    market: Market,
    *,
    name: str | None = None,
    profile: ClaimProfile | None = None,
    threads: int = 2,
    progress: Progress | None = None,
) -> Claims:
    """Generate the claims that a book's collateral is in detail, and return them, opened.

    The bytes depend on book, seed, market and profile only, in any number of threads.

    Raises:
        ValueError: the market is not the book's, or lacks a price, or the lending terms are later.
        ClaimsExist: there is something at the path.
    """
    profile = profile or ClaimProfile()
    report = progress or (lambda done, total: None)
    ground = prepare_claims(book, market)
    plants = plan_plants(seed, _able(book, ground.menu), BLOCK_ACCOUNTS)

    def draw(block: int) -> ClaimBlock:
        start = block * BLOCK_ACCOUNTS
        stop = min(start + BLOCK_ACCOUNTS, book.accounts)
        holdings = _holdings(book, start, stop)
        return draw_claims(seed, block, holdings, ground.menu, plants.between(start, stop), profile)

    found: list[NDArray[np.int64]] = []
    with ClaimsWriter(path, name or Path(path).name, book, ground.references) as writer:
        for block in in_order(draw, book.blocks, threads):
            found.append(writer.claims + block.planted)
            accounts = min(BLOCK_ACCOUNTS, book.accounts - writer.accounts)
            writer.append(accounts, _table(block, writer.accounts, writer.claims))
            report(writer.accounts, book.accounts)
        return writer.close(
            {
                "generator": "synthetic",
                "seed": seed,
                "market": market.digest,
                "profile": asdict(profile),
            },
            planted=planted_rows(plants, np.concatenate(found)),
        )


def planted_rows(plants: Plants, rows: NDArray[np.int64]) -> dict[str, list[list[int]]]:
    """Return the claims of each group by plant, in the order of their places in the group."""
    result: dict[str, list[list[int]]] = {plant.name.lower(): [] for plant in Plant}
    order = np.lexsort((plants.place, plants.group))
    starts = np.flatnonzero(np.diff(plants.group[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        if len(members):
            kind = Plant(int(plants.kind[members[0]]))
            result[kind.name.lower()].append(rows[members].tolist())
    return result


def _able(book: Book, menu: ClaimMenu) -> NDArray[np.bool_]:
    """Return which accounts hold enough to be planted, ``(account,)``."""
    worth = []
    for start in range(0, book.accounts, PART_ACCOUNTS):
        held = _holdings(book, start, min(start + PART_ACCOUNTS, book.accounts))
        worth.append(sums(held.owner, held.quantity * menu.price[held.asset], held.accounts))
    return np.concatenate(worth) >= LEAST_PLANTED


def _holdings(book: Book, start: int, stop: int) -> HeldCollateral:
    held = book.collateral_slice(start, stop)
    owner = np.repeat(np.arange(stop - start), np.diff(held.offsets))
    return HeldCollateral(stop - start, owner, held.asset, held.quantity)


def _table(block: ClaimBlock, first_account: int, first_claim: int) -> pa.Table:
    backing = np.where(block.backing >= 0, block.backing + first_claim, -1)
    columns: dict[str, Any] = {
        "account": (block.owner + first_account).astype(np.int32),
        "token": block.token.astype(np.int32),
        "quantity": block.quantity,
        "encumbered": block.encumbered,
        "market": block.market,
        "root": _identities(block.root),
        "proof": _identities(block.proof),
        "height": block.height,
        "standing": block.standing,
        "backing": backing,
    }
    return pa.table(columns, schema=tables.CLAIMS.schema)


def _identities(words: NDArray[np.uint64]) -> pa.Array:
    content = pa.py_buffer(np.ascontiguousarray(words))
    return pa.Array.from_buffers(tables.IDENTITY, len(words), [None, content])
