"""What changed between two runs of one book: equity in its parts, requirement, health.

Accounts are matched by name. What the positions and the collateral of the earlier run would have
gained if nobody had touched them is known; the rest of the change of equity is not told apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from risk.collateral import CollateralRule
from risk.health import AccountHealth, Cause, HealthSpec, account_health
from risk.instruments import MarketState
from risk.specification import read_toml
from risk.summation import sum_by_group
from risk.variation import Variation, variation
from storage.book import PART_ACCOUNTS, Book
from storage.runs import Run
from workers.collateral import CountedAssets, counted_assets
from workers.inputs import book_of
from workers.terms import instrument_terms

Floats = NDArray[np.float64]

MEANING = {
    "variation_margin": "gains of futures and perpetuals held at the previous run, settled in cash",
    "option_and_spot_pnl": "change in value of options and spot held at the previous run",
    "collateral_pnl": "change in value after haircuts of collateral held at the previous run",
    "flows": (
        "the rest of the change of equity: deposits, withdrawals, trades, fees, funding, and "
        "settled gains that the collateral does not show yet"
    ),
}
"""What the parts are that sum to the change of equity."""


class NothingBefore(ValueError):
    """The previous run cannot be compared with this one."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Accounts of one shard against the previous run, ``(account,)`` each, USD.

    ``both`` is true where the account was margined in both; only there are the amounts numbers.
    ``priced`` is false where a position or an asset held then has no price in one of the runs, so
    that the change of equity has no parts.
    """

    found: NDArray[np.bool_]
    both: NDArray[np.bool_]
    priced: NDArray[np.bool_]
    before: tuple[Floats, Floats, Floats]
    equity_change: Floats
    requirement_change: Floats
    parts: dict[str, Floats]

    def columns(self, rows: NDArray[np.int64], rules: HealthSpec) -> dict[str, pa.Array]:
        """Return chosen rows as columns; what is not known is null."""
        both, split = self.both[rows], (self.both & self.priced)[rows]
        code = np.zeros(len(rows), dtype=np.int8)
        equity, initial, maintenance = (values[rows] for values in self.before)
        code[both] = account_health(equity[both], initial[both], maintenance[both], rules)
        names = pa.array([health.name.lower() for health in AccountHealth])
        amounts = {
            "previous_equity": equity,
            "previous_initial": initial,
            "equity_change": self.equity_change[rows],
            "requirement_change": self.requirement_change[rows],
            "excess_change": (self.equity_change - self.requirement_change)[rows],
        }
        return {
            "previous_health": names.take(pa.array(code, mask=~both)),
            **{name: pa.array(values, mask=~both) for name, values in amounts.items()},
            **{name: pa.array(one[rows], mask=~split) for name, one in self.parts.items()},
        }


class Since:
    """The previous run, and the sums of what changed since."""

    def __init__(self, previous: Run, run: Run) -> None:
        was, now = (one.manifest["inputs"]["book"]["name"] for one in (previous, run))
        if was != now:
            raise NothingBefore(
                f"run {previous.run_id} is of book {was!r}, run {run.run_id} of book {now!r}; "
                "compare two runs of one book"
            )
        if _collateral_rules(previous) != _collateral_rules(run):
            raise NothingBefore(
                f"run {previous.run_id} counts collateral by other rules than run {run.run_id}, so "
                "equity changed without anything having moved; compare two runs of one rule book"
            )
        self.previous = previous
        self._book = book_of(previous)
        book = book_of(run)
        self._gain = _gain(previous, run, self._book, book)
        self._lot_size = self._book.instruments()["lot_size"].to_numpy()
        self._asset_gain, self._asset_known = _asset_gain(previous, run, self._book, book)
        self._accounts = {"new": book.accounts, "gone": self._book.accounts, "margined_in_both": 0}
        self._health = {"worse": 0, "better": 0}
        self._because = dict.fromkeys((cause.name.lower() for cause in Cause if cause), 0)
        self._sums = dict.fromkeys(("equity_change", "requirement_change", *MEANING), 0.0)
        self._without_parts = 0

    def changes(self, names: pa.Array, equity: Floats, initial: Floats) -> Changes:
        """Return what changed for the accounts of a shard, whose names ascend."""
        first, stop = _rows_between(self._book, names)
        at = np.full(len(names), -1, dtype=np.int64)
        if stop > first:
            then = self._book.account_table(first, stop, ["account"])["account"].combine_chunks()
            at = pc.fill_null(pc.index_in(names, then), -1).to_numpy().astype(np.int64)
        found = at >= 0
        at = np.maximum(at, 0)
        stored = self._stored(first, stop)
        parts, priced = self._parts(first, stop)
        if stop == first:
            stored = {name: np.full(1, np.nan) for name in stored}
            parts, priced = {name: np.zeros(1) for name in parts}, np.zeros(1, dtype=np.bool_)
        before = tuple(np.where(found, values[at], np.nan) for values in stored.values())
        both = found & np.isfinite(before[0]) & np.isfinite(equity)
        moved = equity - before[0]
        chosen = {name: values[at] for name, values in parts.items()}
        chosen["flows"] = moved - sum(chosen.values())
        return Changes(
            found=found,
            both=both,
            priced=priced[at],
            before=(before[0], before[1], before[2]),
            equity_change=moved,
            requirement_change=initial - before[1],
            parts=chosen,
        )

    def add(self, change: Changes, cause: NDArray[np.int8]) -> None:
        """Count the accounts of a shard, and for what their health changed."""
        found, both = int(np.count_nonzero(change.found)), change.both
        self._accounts["new"] -= found
        self._accounts["gone"] -= found
        self._accounts["margined_in_both"] += int(np.count_nonzero(both))
        for code in Cause:
            if code:
                self._because[code.name.lower()] += int(np.count_nonzero(cause == code))
        split = both & change.priced
        self._without_parts += int(np.count_nonzero(both & ~change.priced))
        self._sums["equity_change"] += float(change.equity_change[both].sum())
        self._sums["requirement_change"] += float(change.requirement_change[both].sum())
        for name, values in change.parts.items():
            self._sums[name] += float(values[split].sum())

    def count_moves(self, worse: int, better: int) -> None:
        """Count accounts whose health became worse, and better."""
        self._health["worse"] += worse
        self._health["better"] += better

    def described(self) -> dict[str, Any]:
        """Return the sums, and what they are."""
        return {
            "previous_run_id": self.previous.run_id,
            "previous_as_of": self.previous.manifest["as_of"],
            **self._accounts,
            "accounts_without_parts": self._without_parts,
            **self._sums,
            "meaning": MEANING,
            "health": self._health,
            "changed_because": self._because,
        }

    def _stored(self, first: int, stop: int) -> dict[str, Floats]:
        names = ("equity", "requirement", "maintenance")
        chosen = self.previous.accounts[list(names)].isel(account=slice(first, stop))
        return {name: chosen[name].values for name in names}

    def _parts(self, first: int, stop: int) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
        """Return the known parts for rows of the previous book, and where all was priced."""
        accounts = stop - first
        held = self._book.position_slice(first, stop)
        owner = np.repeat(np.arange(accounts), np.diff(held.offsets))
        quantity = held.lots * self._lot_size[held.instrument]
        assets = self._book.collateral_slice(first, stop)
        keeper = np.repeat(np.arange(accounts), np.diff(assets.offsets))
        missing = np.concatenate(
            [owner[~self._gain.known[held.instrument]], keeper[~self._asset_known[assets.asset]]]
        )
        gains = (
            (quantity * self._gain.settled[held.instrument], owner),
            (quantity * self._gain.unsettled[held.instrument], owner),
            (assets.quantity * self._asset_gain[assets.asset], keeper),
        )
        parts = [sum_by_group(values, group, accounts) for values, group in gains]
        priced = np.bincount(missing, minlength=accounts) == 0
        return dict(zip(MEANING, parts, strict=False)), priced


def _rows_between(book: Book, names: pa.Array) -> tuple[int, int]:
    """Return the rows of the parts of a book that can hold any of some ascending names."""
    if not len(names) or not book.accounts:
        return 0, 0
    low, high = names[0].as_py(), names[-1].as_py()
    chosen = [
        number
        for number, part in enumerate(book.manifest["parts"])
        if part["last_account"] >= low and part["first_account"] <= high
    ]
    if not chosen:
        return 0, 0
    return chosen[0] * PART_ACCOUNTS, min((chosen[-1] + 1) * PART_ACCOUNTS, book.accounts)


def _gain(previous: Run, run: Run, book: Book, now: Book) -> Variation:
    """Return what one contract of each instrument of the previous book gained since."""
    coins = tuple(previous.manifest["index"])
    table = book.instruments()
    where = pc.index_in(table["instrument"], now.instruments()["instrument"].combine_chunks())
    there = pc.is_valid(where).to_numpy(zero_copy_only=False)
    row = pc.fill_null(where, 0).to_numpy()
    then, later = previous.instruments.load(), run.instruments.load()
    before = MarketState(
        index=np.array([previous.manifest["index"][coin] for coin in coins]),
        forward=then["forward"].values,
        volatility=then["volatility"].values,
        priced=then["priced"].values.astype(np.bool_),
    )
    terms = instrument_terms(table, coins, book.as_of)
    index = np.array([run.manifest["index"].get(coin, np.nan) for coin in coins])
    # A coin that the later market does not have takes its instruments with it.
    paid = ~np.isnan(index)[np.maximum(terms.settlement_underlying, 0)] | (
        terms.settlement_underlying < 0
    )
    after = MarketState(
        index=np.nan_to_num(index),
        forward=later["forward"].values[row],
        volatility=later["volatility"].values[row],
        priced=there & later["priced"].values.astype(np.bool_)[row] & paid,
    )
    return variation(terms, before, after, then["value"].values, later["value"].values[row])


def _asset_gain(previous: Run, run: Run, book: Book, now: Book) -> tuple[Floats, NDArray[np.bool_]]:
    """Return what a unit of each asset gained in what it counts for, and where that is known."""
    was, becomes, later = (
        _counted(of_run, of_book.assets())
        for of_run, of_book in ((previous, book), (run, book), (run, now))
    )
    row = {name: at for at, name in enumerate(_asset_names(now))}
    # An asset that the later book does not list keeps its haircut.
    value = [
        later.value[row[name]] if name in row else becomes.value[at]
        for at, name in enumerate(_asset_names(book))
    ]
    known = was.priced & becomes.priced
    return np.where(known, np.array(value) - was.value, 0.0).astype(np.float64), known


def _asset_names(book: Book) -> list[tuple[str, str, str]]:
    table = book.assets().to_pylist()
    return [(one["asset"], one["chain"], one["protocol"]) for one in table]


def _counted(run: Run, assets: pa.Table) -> CountedAssets:
    """Return what assets count for at the prices and by the rules of a run."""
    return counted_assets(assets, run.manifest["index"], _collateral_rules(run))


def _collateral_rules(run: Run) -> list[CollateralRule]:
    # What lists calls prices nothing, so it reads no more of the methodology than this.
    text = run.manifest["inputs"]["methodology"]["text"]
    listed = read_toml(text).get("collateral", ())
    return [CollateralRule.model_validate(one) for one in listed]
