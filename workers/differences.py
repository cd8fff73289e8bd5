"""What moved between two margin runs, account by account, and because of which input.

From the one run to the other one input is replaced after the other, in the order of ``CAUSES``,
and what an account's numbers move by in each step is that input's part: parts sum to the whole.
Only inputs whose digests differ are replaced. Where one is all that differs, nothing is computed:
the whole is its part. In between, accounts are margined again by this version of the program,
and what it makes otherwise of either run is the part of the code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from risk.margin import Holdings, margin_accounts, measures_of
from risk.methodology import Methodology
from risk.scenarios.shocks import shocks_of
from storage.book import Book
from storage.runs import Run
from workers.code_version import code_version
from workers.collateral import counted_assets
from workers.inputs import book_of, market_of
from workers.market import build_market
from workers.methodologies import methodology_of
from workers.revaluation import axis_of, price_cube, revaluation_of
from workers.scenarios import build_scenarios
from workers.shards import Shard
from workers.tasks import read_holdings
from workers.terms import instrument_terms

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

CAUSES = ("positions", "collateral", "market", "methodology", "code")
"""Inputs in the order in which they are replaced; margin modes go with positions."""

CAME_AND_WENT = ("new", "gone", "released", "held back")
"""Accounts that only one of the runs margined: by who is in its book, or held back in one."""

MOVED = ("requirement", "equity", "shortfall")


@dataclass(frozen=True)
class Difference:
    """Two runs compared.

    ``accounts`` has a row for each account that moved, the largest change first. ``causes`` has,
    for each cause, how many accounts moved most by it, and its part of every total, USD; the parts
    sum to ``change``, which is the difference of the totals that the runs were published with.
    """

    changed: tuple[str, ...]
    accounts: pa.Table
    causes: dict[str, dict[str, float]]
    change: dict[str, float]
    unmoved: int
    instruments: dict[str, int]
    index: dict[str, float]


def difference_of(before: Run, after: Run) -> Difference:
    """Compare two margin runs.

    Raises:
        BookChanged: a book is not the one that its run used.
        ValueError: a market is not the one that its run used.
    """
    books = (book_of(before), book_of(after))
    changed = _changed(before, after, books)
    matched = _match(*books)
    was, now = _numbers(before), _numbers(after)
    both = np.isfinite(was["equity"][matched.then]) & np.isfinite(now["equity"][matched.now])
    differs = np.zeros(len(both), dtype=np.bool_)
    for name in MOVED:
        differs |= was[name][matched.then] != now[name][matched.now]
    moved = np.flatnonzero(both & differs)
    rows = _Matched(matched.then[moved], matched.now[moved])
    parts = _parts(before, after, books, changed, rows, was, now)
    table = _account_table(books, rows, was, now, parts)
    came = _came_and_went(books, matched, both, was, now)
    table = pa.concat_tables([table, came], promote_options="default")
    size = pc.add(
        pc.abs(pc.coalesce(table["requirement_change"], pa.scalar(0.0))),
        pc.abs(pc.coalesce(table["equity_change"], pa.scalar(0.0))),
    )
    table = table.append_column("size", size)
    table = table.sort_by([("size", "descending"), ("account", "ascending")]).drop_columns("size")
    totals = (before.manifest["totals"], after.manifest["totals"])
    return Difference(
        changed=changed,
        accounts=table,
        causes=_causes(table, parts, changed),
        change={name: float(totals[1][name] - totals[0][name]) for name in MOVED},
        unmoved=int(np.count_nonzero(both & ~differs)),
        instruments=_instruments(before, after),
        index={
            coin: price / before.manifest["index"][coin] - 1.0
            for coin, price in after.manifest["index"].items()
            if coin in before.manifest["index"] and price != before.manifest["index"][coin]
        },
    )


def _changed(before: Run, after: Run, books: tuple[Book, Book]) -> tuple[str, ...]:
    """Return which inputs differ, by their digests."""
    old, new = before.manifest, after.manifest
    files = [book.manifest["files"] for book in books]
    kinds: dict[str, list[bool]] = {"positions": [], "collateral": []}
    for name in {*files[0], *files[1]}:
        of_collateral = name.startswith(("collateral", "assets"))
        same = all(name in one for one in files)
        same = same and files[0][name]["sha256"] == files[1][name]["sha256"]
        kinds["collateral" if of_collateral else "positions"].append(same)
    differs = {
        "positions": not all(kinds["positions"]) or books[0].accounts != books[1].accounts,
        "collateral": not all(kinds["collateral"]),
        "market": old["inputs"]["market"]["digest"] != new["inputs"]["market"]["digest"],
        "methodology": (
            old["inputs"]["methodology"]["digest"] != new["inputs"]["methodology"]["digest"]
        ),
        "code": old["code_version"] != new["code_version"],
    }
    return tuple(name for name in CAUSES if differs[name])


@dataclass(frozen=True)
class _Matched:
    """Rows of the accounts that are in both books, ``(account,)`` each."""

    then: Rows
    now: Rows


def _match(then: Book, now: Book) -> _Matched:
    names = [
        book.account_table(0, book.accounts, ["account"])["account"].combine_chunks()
        for book in (then, now)
    ]
    at = pc.fill_null(pc.index_in(names[1], names[0]), -1).to_numpy().astype(np.int64)
    found = np.flatnonzero(at >= 0)
    return _Matched(at[found], found)


def _numbers(run: Run) -> dict[str, Floats]:
    found = {name: run.accounts[name].values for name in ("requirement", "equity")}
    return found | {"shortfall": np.maximum(found["requirement"] - found["equity"], 0.0)}


def _parts(
    before: Run,
    after: Run,
    books: tuple[Book, Book],
    changed: Sequence[str],
    rows: _Matched,
    was: dict[str, Floats],
    now: dict[str, Floats],
) -> dict[str, dict[str, Floats]]:
    """Return what each cause moves each number of matched accounts by, ``(account,)``."""
    first = {name: was[name][rows.then] for name in MOVED}
    last = {name: now[name][rows.now] for name in MOVED}
    replaced = [name for name in changed if name != "code"]
    own = "code" not in changed and before.manifest["code_version"] == code_version()
    if len(changed) <= 1 or not len(rows.now):
        return {name: {one: last[one] - first[one] for one in MOVED} for name in changed}
    at = dict.fromkeys(CAUSES[:-1], 0)
    runs = (before, after)
    here = first if own else _filled(_margined(runs, books, at, rows), first)
    parts: dict[str, dict[str, Floats]] = {}
    aside = {one: here[one] - first[one] for one in MOVED}
    for name in replaced:
        at[name] = 1
        done = own and name == replaced[-1]
        there = last if done else _filled(_margined(runs, books, at, rows), here)
        parts[name] = {one: there[one] - here[one] for one in MOVED}
        here = there
    if not own:
        parts["code"] = {one: aside[one] + last[one] - here[one] for one in MOVED}
    return parts


def _filled(found: dict[str, Floats], before: dict[str, Floats]) -> dict[str, Floats]:
    """Return numbers of a step; where an account is held back in it, those of the step before.

    A position may have no price under one market and be gone from the book of the other.
    """
    return {one: np.where(np.isnan(found[one]), before[one], found[one]) for one in MOVED}


def _margined(
    runs: tuple[Run, Run], books: tuple[Book, Book], at: dict[str, int], rows: _Matched
) -> dict[str, Floats]:
    """Margin matched accounts with each input taken from one of the runs, as ``at`` says."""
    market, rules = market_of(runs[at["market"]]), methodology_of(runs[at["methodology"]])
    book, backing = books[at["positions"]], books[at["collateral"]]
    table, assets = book.instruments(), backing.assets()
    scenarios, built = build_scenarios(market, rules), build_market(market, table)
    terms = instrument_terms(table, built.underlyings, market.as_of)
    cube = price_cube(terms, built.state, shocks_of(scenarios), rules, axis_of(rules, scenarios))
    revaluation = revaluation_of(
        table, assets, terms, built.state, built.underlyings, rules, scenarios, cube
    )
    index = dict(zip(built.underlyings, built.state.index.tolist(), strict=True))
    holdings = [
        _holdings(one, rules, index).take((rows.then, rows.now)[at[name]])
        for name, one in (("positions", book), ("collateral", backing))
    ]
    mixed = replace(
        holdings[0],
        collateral=holdings[1].collateral,
        assets=holdings[1].assets,
        held=holdings[0].held | holdings[1].held,
    )
    origins = scenarios["origin"].values.tolist()
    margin = margin_accounts(mixed, revaluation, rules, measures_of(rules, origins))
    found = {"requirement": margin.requirement, "equity": margin.equity}
    return found | {"shortfall": np.maximum(found["requirement"] - found["equity"], 0.0)}


def _holdings(book: Book, rules: Methodology, index: dict[str, float]) -> Holdings:
    assets = counted_assets(book.assets(), index, rules.collateral)
    lot_size = book.instruments()["lot_size"].to_numpy()
    return read_holdings(book, Shard(0, 0, book.accounts), lot_size, assets.value, assets.priced)


def _account_table(
    books: tuple[Book, Book],
    rows: _Matched,
    was: dict[str, Floats],
    now: dict[str, Floats],
    parts: dict[str, dict[str, Floats]],
) -> pa.Table:
    columns: dict[str, Any] = {"account": _names(books[1], rows.now)}
    sizes = np.array(
        [np.abs(part["requirement"]) + np.abs(part["equity"]) for part in parts.values()]
    ).reshape(len(parts), len(rows.now))
    labels = np.array([*parts], dtype=object)
    chosen = labels[sizes.argmax(axis=0)] if len(parts) and len(rows.now) else []
    columns["cause"] = pa.array(list(chosen), pa.string())
    for name in MOVED:
        first, last = was[name][rows.then], now[name][rows.now]
        columns |= {f"{name}_before": first, f"{name}_after": last, f"{name}_change": last - first}
        columns |= {f"{name}_by_{cause}": part[name] for cause, part in parts.items()}
    return pa.table(columns)


def _names(book: Book, rows: Rows) -> pa.Array:
    names = book.account_table(0, book.accounts, ["account"])["account"].combine_chunks()
    return names.take(pa.array(rows)).cast(pa.string())


def _came_and_went(
    books: tuple[Book, Book],
    matched: _Matched,
    both: NDArray[np.bool_],
    was: dict[str, Floats],
    now: dict[str, Floats],
) -> pa.Table:
    """Return the accounts that one run alone margined; all that they have is their change."""
    known = (np.isfinite(was["equity"][matched.then]), np.isfinite(now["equity"][matched.now]))
    new = np.setdiff1d(np.flatnonzero(np.isfinite(now["equity"])), matched.now)
    gone = np.setdiff1d(np.flatnonzero(np.isfinite(was["equity"])), matched.then)
    groups = zip(
        CAME_AND_WENT,
        (new, gone, matched.now[~both & known[1]], matched.then[~both & known[0]]),
        (1, 0, 1, 0),
        strict=True,
    )
    tables = []
    for cause, rows, side in groups:
        columns: dict[str, Any] = {
            "account": _names(books[side], rows),
            "cause": pa.array([cause] * len(rows), pa.string()),
        }
        for name in MOVED:
            values = (was, now)[side][name][rows]
            columns[f"{name}_{('before', 'after')[side]}"] = values
            columns[f"{name}_change"] = values if side else -values
        tables.append(pa.table(columns))
    return pa.concat_tables(tables, promote_options="default")


def _causes(
    table: pa.Table, parts: dict[str, dict[str, Floats]], changed: Sequence[str]
) -> dict[str, dict[str, float]]:
    cause = table["cause"].to_numpy(zero_copy_only=False)
    found: dict[str, dict[str, float]] = {}
    for name in CAUSES:
        if name in changed or name in parts:
            part = parts.get(name, {})
            sums = {one: float(part[one].sum()) if one in part else 0.0 for one in MOVED}
            found[name] = {"accounts": int(np.count_nonzero(cause == name)), **sums}
    for name in CAME_AND_WENT:
        chosen = cause == name
        if chosen.any():
            found[name] = {
                "accounts": int(np.count_nonzero(chosen)),
                **{one: float(table[f"{one}_change"].to_numpy()[chosen].sum()) for one in MOVED},
            }
    return found


def _instruments(before: Run, after: Run) -> dict[str, int]:
    """Return how many instruments are new, gone, and of another forward, volatility or P&L."""
    names = [
        {name: row for row, name in enumerate(one.instruments["instrument"].values.tolist())}
        for one in (before, after)
    ]
    shared = sorted(names[0].keys() & names[1].keys())
    then, now = (np.array([rows[name] for name in shared], dtype=np.int64) for rows in names)
    prices = np.zeros(len(shared), dtype=np.bool_)
    for name in ("forward", "volatility", "priced"):
        stored = (before.instruments[name].values[then], after.instruments[name].values[now])
        prices |= stored[0] != stored[1]
    same = np.array_equal(before.scenarios["scenario"].values, after.scenarios["scenario"].values)
    cubes = np.ones(len(shared), dtype=np.bool_)
    if same:
        stored = (before.cube["pnl"].values[then], after.cube["pnl"].values[now])
        cubes = (stored[0] != stored[1]).any(axis=1)
    return {
        "instruments": len(names[1]),
        "new": len(names[1]) - len(shared),
        "gone": len(names[0]) - len(shared),
        "priced otherwise": int(prices.sum()),
        "other P&L in a scenario": int(cubes.sum()),
    }
