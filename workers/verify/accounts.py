"""A random sample of accounts, computed again from the book, the market and the rules.

Where the rules are measures of scenarios with charges on top, by ``risk.reference``, which shares
no kernel with the run: contracts repriced from the market, sets summed, tails sorted, one account
after the other. Rules that have no reference are computed by the kernels of a run from the stored
cube; the check says so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.charges import charges_on
from risk.instruments import MarketState, unit_notional
from risk.margin import HELD, Holdings, margin_accounts, measures_of
from risk.methodology import Methodology, parse_methodology
from risk.reference import Held, Priced, Reference, left_out, margin_of, reprice
from risk.scenarios.shocks import shocks_of
from storage.book import Book
from storage.runs import Run
from storage.tables import MARGIN_MODES
from workers.collateral import counted_assets
from workers.inputs import book_of, market_of
from workers.market import build_market
from workers.revaluation import revaluation_of_run
from workers.scenarios import build_scenarios
from workers.shards import Shard
from workers.tasks import read_holdings
from workers.terms import instrument_terms
from workers.verify.checks import Check, attempted

Floats = NDArray[np.float64]

EXACT = ("margin", "risk_measure", "equity", "requirement", "maintenance", "excess", "status")
"""What is compared where the kernels of a run compute it again."""

ROUNDING = 1e-11
"""Part of an account's gross notional and collateral by which the reference may be off."""


def recompute(run: Run, sample: int, seed: int) -> list[Check]:
    """Compute accounts again that are drawn from all of a run, and compare them with it."""
    accounts = int(run.manifest["totals"]["accounts"])
    chosen = np.random.default_rng(seed).choice(accounts, min(sample, accounts), replace=False)
    rows = np.sort(chosen).astype(np.int64)
    rules = run.manifest["inputs"]["methodology"]
    methodology = parse_methodology(rules["text"], rules["events"])
    missing = left_out(methodology)
    drawn = f"{len(rows):,} of {accounts:,} drawn with seed {seed}"
    if missing:
        how = f"{drawn}; by the kernels of a run, for there is no reference of: {missing}"
        return [attempted("accounts", how, lambda: _by_kernels(run, methodology, rows))]
    how = f"{drawn}; by the reference, from the raw inputs"
    return [attempted("accounts", how, lambda: _by_reference(run, methodology, rows))]


@dataclass(frozen=True)
class _Sample:
    """Accounts of a run with what they hold, read one by one."""

    book: Book
    rows: NDArray[np.int64]
    names: list[str]
    holdings: list[Holdings]
    stored: dict[str, NDArray[np.generic]]


def _sample(run: Run, book: Book, methodology: Methodology, rows: NDArray[np.int64]) -> _Sample:
    assets = counted_assets(book.assets(), run.manifest["index"], methodology.collateral)
    lot_size = book.instruments()["lot_size"].to_numpy()
    shards = [Shard(0, row, row + 1) for row in rows.tolist()]
    return _Sample(
        book=book,
        rows=rows,
        names=[
            str(book.account_table(one.start, one.stop, ["account"])["account"][0].as_py())
            for one in shards
        ],
        holdings=[
            read_holdings(book, one, lot_size, assets.value, assets.priced) for one in shards
        ],
        stored={
            str(name): array.isel(account=rows).values
            for name, array in run.accounts.data_vars.items()
        },
    )


def _by_kernels(run: Run, methodology: Methodology, rows: NDArray[np.int64]) -> list[str]:
    book = book_of(run)
    revaluation = revaluation_of_run(run, book, methodology)
    measures = measures_of(methodology, run.scenarios["origin"].values.tolist())
    sample, found = _sample(run, book, methodology, rows), []
    for at, holdings in enumerate(sample.holdings):
        margin = margin_accounts(holdings, revaluation, methodology, measures)
        for name in EXACT:
            again, stored = getattr(margin, name)[0], sample.stored[name][at]
            if not np.array_equal(again, stored, equal_nan=True):
                found.append(_sentence(sample.names[at], name, stored, again))
    return found


def _by_reference(run: Run, methodology: Methodology, rows: NDArray[np.int64]) -> list[str]:
    book, market = book_of(run), market_of(run)
    sample = _sample(run, book, methodology, rows)
    table = book.instruments()
    built, scenarios = build_market(market, table), build_scenarios(market, methodology)
    terms = instrument_terms(table, built.underlyings, market.as_of)
    needed = np.unique(np.concatenate([one.instrument for one in sample.holdings]))
    state = built.state
    part = MarketState(
        state.index, *(getattr(state, n)[needed] for n in ("forward", "volatility", "priced"))
    )
    few, shocks = terms.take(needed), shocks_of(scenarios)
    priced = reprice(few, part, shocks, methodology.volatility_tenor.tenor())
    notional = unit_notional(few, state.index)
    currency = table["settlement_currency"].to_numpy(zero_copy_only=False)
    shared = Reference(
        instruments=few,
        currency=np.unique(currency, return_inverse=True)[1].astype(np.int32)[needed],
        priced=priced,
        weight=scenarios["weight"].values,
        charges=charges_on(methodology.charges, few, part, built.underlyings),
        methodology=methodology,
        measures=measures_of(methodology, scenarios["origin"].values.tolist()),
    )
    found = _cube(run, needed, priced, notional, table["instrument"].to_pylist())
    for at, holdings in enumerate(sample.holdings):
        found += _account(sample, at, holdings, np.searchsorted(needed, holdings.instrument),
                          shared, part.priced, notional)  # fmt: skip
    return found


def _cube(
    run: Run, rows: NDArray[np.int32], priced: Priced, notional: Floats, names: list[str]
) -> list[str]:
    """Compare the rows of the cube that the sample holds, and the values of one contract."""
    stored = run.cube["pnl"].isel(instrument=rows).values
    value = run.instruments["value"].values[rows]
    scale = 1.0 + np.abs(stored).max(axis=1, initial=0.0) + notional
    off = np.maximum(
        np.abs(stored - priced.pnl).max(axis=1, initial=0.0), np.abs(value - priced.value)
    )
    return [
        f"instrument {names[rows[at]]}: value or P&L of one contract is off by {off[at]:.3g} "
        "from what the formula gives"
        for at in np.flatnonzero(~(off <= ROUNDING * scale))
    ]


def _account(
    sample: _Sample,
    at: int,
    holdings: Holdings,
    instrument: NDArray[np.int64],
    shared: Reference,
    priced: NDArray[np.bool_],
    notional: Floats,
) -> list[str]:
    name = sample.names[at]
    held = bool(holdings.held[0]) or not priced[instrument].all()
    if held != (int(sample.stored["status"][at]) == HELD):
        return [_sentence(name, "status", sample.stored["status"][at], int(held))]
    if held:
        known = [one for one in EXACT[:-1] if not np.isnan(sample.stored[one][at]).all()]
        return [f"account {name} is held back and has a {one}" for one in known]
    key = getattr(shared.methodology.netting, MARGIN_MODES[int(holdings.margin_mode[0])])
    collateral = float(holdings.collateral[0])
    again = margin_of(Held(instrument, holdings.quantity, key, collateral), shared)
    moves = np.abs(shared.priced.pnl[instrument]).max(axis=1, initial=0.0)
    gross = float(np.abs(holdings.quantity) @ (notional[instrument] + moves))
    allowed = ROUNDING * (1.0 + gross + abs(collateral))
    return [
        _sentence(name, one, sample.stored[one][at], value)
        for one, value in again.items()
        if not np.all(np.abs(sample.stored[one][at] - value) <= allowed)
    ]


def _sentence(account: str, name: str, stored: object, again: object) -> str:
    seen, made = (np.asarray(one).tolist() for one in (stored, again))
    return f"account {account}: {name} is stored as {seen!r}, computed again it is {made!r}"
