"""What every table of a book must satisfy before it is written."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.book.layout import BOOK, BookRefused
from storage.dataset.rules import conform, every, in_range, numbers, unique
from storage.tables import ASSETS, INSTRUMENTS, MARGIN_MODES, MEMBERS, Table

KINDS = ("spot", "future", "perpetual", "option")
"""Kinds of instrument in the order in which a book lists them."""

EXACT = 1 << 53
"""Lots from here on are not exact as float64."""


def canonical_instruments(instruments: pa.Table) -> pa.Table:
    """Return instruments in the order in which a book lists them.

    Sorted by settlement currency, underlying, kind, expiry, strike, option type, name: the
    positions of an account, sorted by instrument row, are then grouped by settlement currency.

    Raises:
        BookRefused: ``SCHEMA_DRIFT``, ``ENUM_UNKNOWN`` for a kind, ``DUPLICATE_KEY`` for a name.
    """
    table = conform(instruments, INSTRUMENTS, BOOK)
    unknown = sorted(set(table["kind"].to_pylist()) - set(KINDS))
    if unknown:
        raise BookRefused(f"ENUM_UNKNOWN: instruments.kind {unknown}; allowed are {list(KINDS)}")
    unique(table, INSTRUMENTS, BOOK)
    rows = table.select(
        ["settlement_currency", "underlying", "kind", "expiry", "strike", "option_type"]
    ).to_pylist()
    names = table["instrument"].to_pylist()

    def key(row: int) -> tuple[str, str, int, float, float, str, str]:
        terms = rows[row]
        return (
            terms["settlement_currency"],
            terms["underlying"],
            KINDS.index(terms["kind"]),
            terms["expiry"].timestamp() if terms["expiry"] else 0.0,
            terms["strike"] or 0.0,
            terms["option_type"] or "",
            names[row],
        )

    order = sorted(range(len(rows)), key=key)
    return table if order == list(range(len(rows))) else table.take(order)


def check_references(instruments: pa.Table, members: pa.Table, assets: pa.Table) -> None:
    """Raise ``BookRefused`` if a reference table breaks a rule that margin depends on."""
    if canonical_instruments(instruments)["instrument"] != instruments["instrument"]:
        raise BookRefused(
            "SORT_ORDER: instruments are not in canonical order; pass them through "
            "storage.book.canonical_instruments, and number positions by the result"
        )
    unique(members, MEMBERS, BOOK)
    unique(assets, ASSETS, BOOK)
    for name in ("multiplier", "lot_size"):
        size = numbers(instruments, name)
        every(
            np.isfinite(size) & (size > 0.0), "MULTIPLIER", f"instruments.{name}", size, "> 0", BOOK
        )
    fund = numbers(members, "default_fund")
    every(
        np.isfinite(fund) & (fund >= 0.0),
        "DEFAULT_FUND",
        "members.default_fund",
        fund,
        ">= 0",
        BOOK,
    )
    haircut = numbers(assets, "haircut")
    allowed = (haircut >= 0.0) & (haircut <= 1.0)
    every(allowed, "HAIRCUT_RANGE", "assets.haircut", haircut, "a fraction, 0 to 1", BOOK)


def check_accounts(accounts: pa.Table, previous: str | None, members: int) -> None:
    """Raise ``BookRefused`` unless names ascend after ``previous`` and codes are in range."""
    names = accounts["account"].combine_chunks()
    if not len(names):
        return
    ascending = pc.less(names.slice(0, len(names) - 1), names.slice(1))
    fault = None
    if previous is not None and names[0].as_py() <= previous:
        fault = (previous, names[0].as_py())
    elif not pc.all(ascending, min_count=0).as_py():
        row = pc.index(ascending, False).as_py()
        fault = (names[row].as_py(), names[row + 1].as_py())
    if fault is not None:
        code = "DUPLICATE_KEY" if fault[0] == fault[1] else "SORT_ORDER"
        raise BookRefused(
            f"{code}: account {fault[1]!r} comes after {fault[0]!r}; accounts must be unique and "
            "sorted by name, in the order of their UTF-8 bytes"
        )
    in_range(accounts, "member", members, "accounts", BOOK)
    in_range(accounts, "margin_mode", len(MARGIN_MODES), "accounts", BOOK)


def check_rows(table: pa.Table, declared: Table, first: int, stop: int, references: int) -> None:
    """Raise ``BookRefused`` unless rows belong to accounts [first, stop) and ascend by key."""
    owner, what = declared.key
    account, item = numbers(table, owner), numbers(table, what)
    if not len(account):
        return
    if account.min() < first or account.max() >= stop:
        seen = account[(account < first) | (account >= stop)][0]
        raise BookRefused(
            f"UNKNOWN_ACCOUNT: {declared.name} name account row {seen}; this batch holds rows "
            f"{first} to {stop - 1}"
        )
    in_range(table, what, references, declared.name, BOOK)
    step = np.diff(account.astype(np.int64) * references + item)
    if len(step) and step.min() <= 0:
        row = int(np.argmax(step <= 0)) + 1
        code = "DUPLICATE_KEY" if step[row - 1] == 0 else "SORT_ORDER"
        raise BookRefused(
            f"{code}: {declared.name} of account row {account[row]} list {what} {item[row]} after "
            f"{item[row - 1]}; rows must be unique and sorted by account, then {what}"
        )


def check_lots(lots: NDArray[np.int64]) -> None:
    """Raise ``OVERFLOW`` if a quantity in lots would not be exact as a float."""
    inexact = (lots >= EXACT) | (lots <= -EXACT)
    if inexact.any():
        raise BookRefused(
            f"OVERFLOW: positions.lots {lots[inexact][0]} is not exact in float64; allowed is "
            f"less than {EXACT} either way: use a larger lot_size"
        )


def check_quantity(quantity: NDArray[np.float64]) -> None:
    """Raise ``COLLATERAL_NEGATIVE`` if a quantity of collateral is negative or not finite."""
    allowed = np.isfinite(quantity) & (quantity >= 0.0)
    every(
        allowed,
        "COLLATERAL_NEGATIVE",
        "collateral.quantity",
        quantity,
        ">= 0, debt is no row",
        BOOK,
    )
