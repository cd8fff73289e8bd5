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
from risk.margin import HELD, Holdings, measures_of
from risk.reference import Held, Priced, Reference, left_out, margin_of, reprice
from risk.scenarios.shocks import shocks_of
from storage.book import Book
from storage.runs import Run
from storage.tables import MARGIN_MODES
from workers.scenarios import build_scenarios
from workers.shards import Shard
from workers.terms import instrument_terms
from workers.verify.checks import Check, attempted
from workers.verify.margined_again import MarginedAgain

Floats = NDArray[np.float64]

NUMBERS = ("margin", "risk_measure", "equity", "requirement", "maintenance", "excess")
"""What an account that is held back has none of."""

ROUNDING = 1e-11
"""Part of an account's gross notional and collateral by which the reference may be off."""


def recompute(again: MarginedAgain, sample: int, seed: int) -> Check:
    """Compute accounts again that are drawn from all of a run, and compare them with it."""
    accounts = again.run.accounts.sizes["account"]
    chosen = np.random.default_rng(seed).choice(accounts, min(sample, accounts), replace=False)
    rows = np.sort(chosen).astype(np.int64)
    drawn = f"{len(rows):,} of {accounts:,} drawn with seed {seed}"
    missing = left_out(again.methodology)
    if missing:
        how = f"{drawn}; by the kernels of a run, for there is no reference of: {missing}"
        return attempted("accounts", how, lambda: _by_kernels(again, rows))
    how = f"{drawn}; by the reference, from positions and the fitted market"
    return attempted("accounts", how, lambda: _by_reference(again, rows))


@dataclass(frozen=True)
class _Sample:
    """Accounts of a run with what they hold, read one by one."""

    names: list[str]
    holdings: list[Holdings]
    stored: dict[str, NDArray[np.generic]]


def _sample(again: MarginedAgain, rows: NDArray[np.int64]) -> _Sample:
    return _Sample(
        names=[_name(again.book, row) for row in rows.tolist()],
        holdings=[again.holdings(Shard(0, row, row + 1)) for row in rows.tolist()],
        stored={
            str(name): array.isel(account=rows).values
            for name, array in again.run.accounts.data_vars.items()
        },
    )


def _name(book: Book, row: int) -> str:
    return str(book.account_table(row, row + 1, ["account"])["account"][0].as_py())


def _by_kernels(again: MarginedAgain, rows: NDArray[np.int64]) -> list[str]:
    return [
        f"account {_name(again.book, row)}: {one}"
        for row in rows.tolist()
        for one in again.account(row)
    ]


def _by_reference(again: MarginedAgain, rows: NDArray[np.int64]) -> list[str]:
    if not len(rows):
        return []
    market, methodology, run = again.market, again.methodology, again.run
    built, table = again.built, again.book.instruments()
    sample, scenarios = _sample(again, rows), build_scenarios(market, methodology)
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
        known = [one for one in NUMBERS if not np.isnan(sample.stored[one][at]).all()]
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
