"""What a run held back: who, for which reason, and how much money is theirs.

Collateral counts as it does in equity, positions at index prices and marks. What has no price
counts for nothing, so that the money at stake of an account that lacks a price is the least that
it can be.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from risk.instruments import unit_notional
from risk.margin import HELD
from risk.summation import sum_by_group
from storage.book import PART_ACCOUNTS, Book
from storage.codes import CODES
from storage.runs import Run
from workers.collateral import CountedAssets, counted_assets
from workers.export import reasons_of
from workers.inputs import book_of
from workers.methodologies import methodology_of
from workers.revaluation import terms_and_market_of
from workers.shards import cut

Floats = NDArray[np.float64]

OF_RULES = {
    "PRICE_MISSING": (
        "a position or an asset has no price in the market of the run",
        "give the market a quote or a surface for it, or take it out of the book",
    ),
    "RULE_MISSING": (
        "a position is under no rule of the methodology",
        "give the methodology a rule for such instruments, or take the position out",
    ),
}
"""Reasons that a run finds and no import: what they are, and what to do."""


class TooMuchHeldBack(Exception):
    """More of a book is held back than the one who asked for the run allows."""


@dataclass(frozen=True)
class Stakes:
    """Accounts that are held back: book rows, positions, and money at stake, ``(held,)``, USD."""

    row: NDArray[np.int64]
    positions: NDArray[np.int64]
    collateral: Floats
    notional: Floats
    value: Floats


def stakes_of(
    book: Book, status: NDArray[np.int8], unit_value: Floats, unit_size: Floats, asset_value: Floats
) -> Stakes:
    """Return what is at stake of the accounts that are held back.

    ``status`` is ``(account,)``; ``unit_value`` and ``unit_size`` ``(instrument,)`` are value and
    notional of one contract, ``asset_value`` ``(asset,)`` what a unit adds to equity.
    """
    parts = []
    lot_size = book.instruments()["lot_size"].to_numpy()
    for shard in cut(book.accounts, PART_ACCOUNTS):
        held = np.flatnonzero(status[shard.start : shard.stop] == HELD)
        if not len(held):
            continue
        accounts = shard.stop - shard.start
        positions = book.position_slice(shard.start, shard.stop)
        collateral = book.collateral_slice(shard.start, shard.stop)
        count = np.diff(positions.offsets)
        owner = np.repeat(np.arange(accounts), count)
        keeper = np.repeat(np.arange(accounts), np.diff(collateral.offsets))
        quantity = positions.lots * lot_size[positions.instrument]
        sums = (
            sum_by_group(collateral.quantity * asset_value[collateral.asset], keeper, accounts),
            sum_by_group(np.abs(quantity) * unit_size[positions.instrument], owner, accounts),
            sum_by_group(quantity * unit_value[positions.instrument], owner, accounts),
        )
        parts.append((held + shard.start, count[held], *(one[held] for one in sums)))
    if not parts:
        none = np.zeros(0)
        return Stakes(none.astype(np.int64), none.astype(np.int64), none, none, none)
    return Stakes(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True)
class SetAside:
    """Collateral of rows in quarantine: USD by code, and rows that have no value, by code."""

    collateral: dict[str, float]
    not_valued: dict[str, int]


def set_aside_of(book: Book, assets: CountedAssets) -> SetAside:
    """Return what collateral is in quarantine, of accounts in the book and of those left out.

    Where a row has no asset, no quantity or no price, its money is not known.
    """
    collateral: Counter[str] = Counter()
    rows = Counter(book.rows_set_aside("collateral"))
    for one in book.set_aside:
        if assets.priced[one["asset"]]:
            collateral[one["code"]] += one["quantity"] * float(assets.value[one["asset"]])
            rows[one["code"]] -= one["rows"]
    return SetAside(dict(collateral), dict(+rows))


def require_few_held(book: Book, held: int, limit: float | None) -> None:
    """Refuse a run that holds back a larger part of accounts than is allowed.

    Accounts whose own row is in quarantine count as held back.

    Raises:
        TooMuchHeldBack: the part is above its limit.
        ValueError: the limit is no fraction.
    """
    out = book.left_out if limit is not None else 0
    held, whole = held + out, book.accounts + out
    _require_part("accounts", held / whole if whole else 0.0, limit, f"{held:,} of {whole:,}")


def require_little_held(
    book: Book, stakes: Stakes, assets: CountedAssets, margined: float, limit: float | None
) -> None:
    """Refuse a run that holds back a larger part of collateral than is allowed.

    ``margined`` is the collateral of the others, USD. Collateral in quarantine counts as held
    back; where its money is not known, no limit below 1 is met.

    Raises:
        TooMuchHeldBack: the part is above its limit, or is not known.
        ValueError: the limit is no fraction.
    """
    if limit is None:
        return
    aside = set_aside_of(book, assets)
    backed = float(stakes.collateral.sum()) + sum(aside.collateral.values())
    part = backed / (backed + margined) if backed > 0.0 else 0.0
    seen = f"USD {backed:,.0f} of {backed + margined:,.0f}"
    _require_part("collateral", part, limit, seen)
    unknown = sum(aside.not_valued.values())
    if unknown and limit < 1.0:
        raise TooMuchHeldBack(
            f"how much collateral is held back is not known, allowed are {limit:.2%}; rows in "
            f"quarantine that lack asset, quantity or price: {unknown:,}; nothing is published: "
            "mend them, or set no limit on money"
        )


def _require_part(name: str, part: float, limit: float | None, seen: str) -> None:
    if limit is None:
        return
    if not 0.0 <= limit <= 1.0:
        raise ValueError(f"the most {name} held back is {limit:g}; allowed is 0 to 1")
    if part > limit:
        raise TooMuchHeldBack(
            f"{part:.2%} of {name} are held back ({seen}), allowed are {limit:.2%}; nothing "
            "is published: mend the rows that are in quarantine, or allow more"
        )


@dataclass(frozen=True)
class HeldBack:
    """What a run held back.

    ``codes`` has accounts, positions and money for each reason; ``rows`` each bad row, or account
    without a price or rule, with the value seen, what is allowed and what to do. ``totals``
    reconcile: what came in is what was margined and what was not.
    """

    codes: list[dict[str, Any]]
    rows: pa.Table
    totals: dict[str, Any]


def held_back(run: Run) -> HeldBack:
    """Return what a margin run held back, by code and row.

    Raises:
        BookChanged: the book is not the one that the run used.
    """
    book, methodology = book_of(run), methodology_of(run)
    assets = counted_assets(book.assets(), run.manifest["index"], methodology.collateral)
    terms, market = terms_and_market_of(run, book)
    size = np.where(market.priced, unit_notional(terms, market.index), 0.0)
    status = run.accounts["status"].values
    stakes = stakes_of(book, status, run.instruments["value"].values, size, assets.value)
    reason = np.array(
        [
            code
            for shard in cut(book.accounts, PART_ACCOUNTS)
            for code in reasons_of(run, book, shard, status[shard.start : shard.stop])
            if code is not None
        ],
        dtype=object,
    )
    names = book.account_table(0, book.accounts, ["account"])["account"].combine_chunks()
    held = names.take(pa.array(stakes.row)).to_pylist()
    table = _rows(book, held, reason, run, assets, stakes)
    aside = set_aside_of(book, assets)
    codes = _codes(stakes, aside, reason, table)
    return HeldBack(codes, table, _totals(run, book, stakes, aside))


def _codes(
    stakes: Stakes, aside: SetAside, reason: NDArray[np.object_], table: pa.Table
) -> list[dict[str, Any]]:
    """Return each reason with its accounts and their money, the largest sum first.

    An account with several bad rows has the money under one reason, the one it is held by.
    """
    seen = table["code"].to_pylist()
    found = []
    for code in sorted({*reason.tolist(), *seen}):
        of_code = reason == code
        collateral = float(stakes.collateral[of_code].sum())
        value = float(stakes.value[of_code].sum())
        found.append(
            {
                "code": code,
                "meaning": _meaning(code),
                "rows": seen.count(code),
                "accounts": int(np.count_nonzero(of_code)),
                "positions": int(stakes.positions[of_code].sum()),
                "equity": collateral + value,
                "collateral": collateral,
                "notional": float(stakes.notional[of_code].sum()),
                "collateral_set_aside": aside.collateral.get(code, 0.0),
                "collateral_rows_not_valued": aside.not_valued.get(code, 0),
            }
        )
    return sorted(
        found, key=lambda one: (-one["collateral"] - one["collateral_set_aside"], one["code"])
    )


def _meaning(code: str) -> str:
    if code in OF_RULES:
        return OF_RULES[code][0]
    return CODES[code].meaning if code in CODES else "a row of the account is in quarantine"


def _rows(
    book: Book,
    held: Sequence[str],
    reason: NDArray[np.object_],
    run: Run,
    assets: CountedAssets,
    stakes: Stakes,
) -> pa.Table:
    """Return the rows in quarantine, and those that lack a price or a rule."""
    columns = ("account", "code", "dataset", "row", "field", "value", "allowed", "action")
    found: dict[str, list[Any]] = {name: [] for name in columns}
    listed = book.quarantine()
    if listed.num_rows:
        kept = listed.filter(pc.equal(listed["severity"].cast(pa.string()), "quarantine"))
        for name in columns[1:]:
            found[name] += kept[name].cast(pa.string()).to_pylist()
        datasets, rows = (kept[name].cast(pa.string()).to_pylist() for name in ("dataset", "row"))
        found["account"] += [
            row.split(" / ")[0] if dataset in ("accounts", "positions", "collateral") else ""
            for dataset, row in zip(datasets, rows, strict=True)
        ]
    priced = run.instruments["priced"].values.astype(np.bool_)
    instruments, named = book.instruments()["instrument"], book.assets()["asset"]
    for at in np.flatnonzero(np.isin(reason.astype(str), [*OF_RULES])).tolist():
        row, code = int(stakes.row[at]), str(reason[at])
        positions = np.unique(book.position_slice(row, row + 1).instrument)
        lacking = [
            ("positions", instruments[int(one)].as_py())
            for one in positions[~priced[positions]] if code == "PRICE_MISSING"
        ]  # fmt: skip
        backing = np.unique(book.collateral_slice(row, row + 1).asset)
        if code == "PRICE_MISSING":
            missing = backing[~assets.priced[backing]]
            lacking += [("collateral", named[int(one)].as_py()) for one in missing]
        for dataset, what in lacking or [("positions", "")]:
            meaning, action = OF_RULES[code]
            whose = f"{held[at]} / {what}" if what else held[at]
            for name, value in zip(
                columns,
                (held[at], code, dataset, whose, "price" if lacking else "rule", "", meaning,
                 action),
                strict=True,
            ):  # fmt: skip
                found[name].append(value)
    return pa.table({name: pa.array(values, pa.string()) for name, values in found.items()})


def _totals(run: Run, book: Book, stakes: Stakes, aside: SetAside) -> dict[str, Any]:
    """Return accounts, positions and collateral as they came in, and what became of each."""
    totals = run.manifest["totals"]
    set_aside = sum(book.rows_set_aside("positions").values())
    left_out = sum(aside.collateral.values())
    held = int(stakes.positions.sum())
    backed = float(stakes.collateral.sum())
    margined = float(np.nansum(run.accounts["collateral_value"].values))
    return {
        "accounts_in": book.accounts + book.left_out,
        "accounts_margined": totals["margined"],
        "accounts_held": totals["held"],
        "accounts_left_out": book.left_out,
        "positions_in": book.positions + set_aside,
        "positions_margined": book.positions - held,
        "positions_held": held,
        "positions_set_aside": set_aside,
        "collateral_in": margined + backed + left_out,
        "collateral_margined": margined,
        "collateral_held": backed,
        "collateral_set_aside": left_out,
        "collateral_rows_not_valued": sum(aside.not_valued.values()),
        "notional_held": float(stakes.notional.sum()),
        "equity_held": backed + float(stakes.value.sum()),
    }
