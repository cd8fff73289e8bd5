"""Verify a margin run: its inputs, its sums, and a sample of its accounts by the reference."""

import numpy as np
import xarray as xr

from risk.methodology import Methodology, parse_methodology
from storage.digest import dataset_digest, text_digest
from storage.runs import Run, RunStore
from workers.engine import SerialEngine
from workers.fold import Folded, FoldInputs, IncompleteRun, fold_dataset, fold_run, require_whole
from workers.inputs import book_of, market_of
from workers.manifest import totals_of_sums
from workers.market import build_market
from workers.revaluation import revaluation_of_run, terms_and_market_of
from workers.scenarios import build_scenarios
from workers.verify.accounts import recompute
from workers.verify.checks import Check, attempted, checks_of_storage, unlike

ACCOUNTS = 200
"""How many accounts are computed again where nobody says."""

AGAIN = 1e-9
"""Relative difference allowed to what is fitted again: another machine's library may differ."""


def verify_margin(store: RunStore, name: str, sample: int, seed: int) -> list[Check]:
    """Read a margin run again, sum it again, and compute ``sample`` accounts again.

    Raises:
        UnknownRun: no run of that name has been published.
    """
    run = store.open(name)
    totals = run.manifest["totals"]
    return [
        *checks_of_storage(store, run.run_id),
        attempted("inputs", "book, market, methodology", lambda: _inputs(run)),
        attempted("scenarios", f"{totals['scenarios']:,} drawn again", lambda: _scenarios(run)),
        attempted("market", f"{totals['instruments']:,} instruments", lambda: _market(run)),
        attempted(
            "sums",
            f"{totals['accounts']:,} accounts, {totals['positions']:,} positions",
            lambda: _sums(run, store),
        ),
        *recompute(run, sample, seed),
    ]


def rules_of(run: Run) -> Methodology:
    """Return the methodology of a run."""
    rules = run.manifest["inputs"]["methodology"]
    return parse_methodology(rules["text"], rules["events"])


def _inputs(run: Run) -> list[str]:
    """Hash every file of the inputs again."""
    found = []
    book_of(run).verify()
    market = market_of(run)
    market.quotes()
    market.prices()
    rules = run.manifest["inputs"]["methodology"]
    parse_methodology(rules["text"], rules["events"])
    key = text_digest(
        run.manifest["inputs"]["book"]["digest"],
        run.manifest["inputs"]["market"]["digest"],
        rules["digest"],
        run.manifest["code_version"],
    )
    if key != run.manifest["key"]:
        found.append(f"inputs: their digests make the key {key[:12]}, the run has {run.run_id}")
    return found


def _scenarios(run: Run) -> list[str]:
    return _apart("scenarios", run.scenarios, build_scenarios(market_of(run), rules_of(run)))


def _market(run: Run) -> list[str]:
    state = build_market(market_of(run), book_of(run).instruments()).state
    return _apart(
        "instruments",
        run.instruments,
        xr.Dataset(
            {
                name: ("instrument", getattr(state, name))
                for name in ("forward", "volatility", "priced")
            }
        ),
    )


def _apart(what: str, stored: xr.Dataset, again: xr.Dataset) -> list[str]:
    """Return which numbers are not those that the inputs lead to."""
    found = []
    for name in map(str, again.data_vars):
        one, other = stored[name].values, again[name].values
        if one.shape != other.shape:
            found.append(
                f"{what}/{name} has shape {one.shape}, from the inputs it is {other.shape}"
            )
        elif one.dtype.kind == "f":
            wrong = np.flatnonzero(~np.isclose(one, other, rtol=AGAIN, atol=0.0, equal_nan=True))
            if len(wrong):
                seen, made = one.ravel()[wrong[0]], other.ravel()[wrong[0]]
                found.append(
                    f"{what}/{name} is {seen!r} where the inputs lead to {made!r} "
                    f"({len(wrong):,} such)"
                )
        elif one.dtype.kind == "b" and (one != other).any():
            found.append(f"{what}/{name} differs from the inputs in {(one != other).sum():,} rows")
    return found


def _sums(run: Run, store: RunStore) -> list[str]:
    """Fold the stored accounts and blocks again; they are whole, and are the stored folds."""
    book, rules = book_of(run), rules_of(run)
    standard = revaluation_of_run(run, book, rules).standard
    inputs = FoldInputs(
        book=book,
        accounts=store.rows(run.run_id, "accounts"),
        blocks=store.rows(run.run_id, "blocks"),
        members=book.members().num_rows,
        instruments=book.instruments().num_rows,
        by_choice=None if standard is None else standard.choice.astype(np.bool_),
    )
    folded = fold_run(inputs, SerialEngine())
    cube = run.cube["pnl"].values
    found = []
    try:
        require_whole(folded.sums, book, cube)
    except IncompleteRun as fault:
        found.append(
            f"sums: {str(fault).removesuffix('; the run stays unpublished, run it again')}"
        )
    found += unlike("totals", run.manifest["totals"], totals_of_sums(folded.sums))
    if dataset_digest(_folds(run, inputs, folded, cube)) != run.manifest["digests"]["folds"]:
        found.append("folds: summed again from accounts and blocks they are not those stored")
    return found


def _folds(run: Run, inputs: FoldInputs, folded: Folded, cube: np.ndarray) -> xr.Dataset:
    terms, market = terms_and_market_of(run, inputs.book)
    return fold_dataset(
        folded.sums,
        inputs,
        instruments=terms,
        index=market.index,
        cube=cube,
        lot_size=run.instruments["lot_size"].values,
        labels={
            "scenario": run.scenarios["scenario"].values.tolist(),
            "layer": run.accounts["layer"].values.tolist(),
        },
    )
