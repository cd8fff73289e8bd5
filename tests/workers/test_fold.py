"""The fold: the same bits from every tree of aligned runs, on every engine."""

import dataclasses

import numpy as np
import pytest

from storage.array_digest import dataset_digest
from storage.market import sample_market
from workers import fold
from workers.dask_engine import DaskEngine
from workers.engine import SerialEngine
from workers.fold import FoldInputs, IncompleteRun, fold_dataset, fold_run, require_whole
from workers.market import build_market
from workers.terms import instrument_terms


@pytest.fixture(scope="module")
def done(synthetic_book, margin_of):
    return margin_of(synthetic_book(28_000), shards=7)


@pytest.fixture(scope="module")
def inputs(synthetic_book, done):
    book = synthetic_book(28_000)
    return FoldInputs(
        book=book,
        accounts=done.store.rows(done.run.run_id, "accounts"),
        blocks=done.store.rows(done.run.run_id, "blocks"),
        members=book.members().num_rows,
        instruments=book.instruments().num_rows,
    )


@pytest.fixture(scope="module")
def rest(inputs, done):
    """What the labelled folds need besides the sums."""
    table, market = inputs.book.instruments(), sample_market()
    built = build_market(market, table)
    return {
        "instruments": instrument_terms(table, built.underlyings, market.as_of),
        "index": built.state.index,
        "cube": done.run.cube["pnl"].values,
        "lot_size": table["lot_size"].to_numpy(),
        "labels": {
            "scenario": done.run.scenarios["scenario"].values.tolist(),
            "layer": ["base", "stress", "short_option"],
        },
    }


@pytest.mark.parametrize("blocks", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("engine", [SerialEngine(), DaskEngine(2)], ids=lambda one: one.name)
def test_the_leaves_may_be_of_any_power_of_two_blocks(
    inputs, rest, done, monkeypatch, blocks, engine
):
    """Seven blocks make seven leaves down to one; the last is short."""
    monkeypatch.setattr(fold, "SHARD_BLOCKS", blocks)
    found = fold_dataset(fold_run(inputs, engine).sums, inputs, **rest)
    assert dataset_digest(found) == done.run.manifest["digests"]["folds"]


def test_a_whole_run_is_whole_and_what_is_missing_is_named(inputs, rest):
    sums, cube = fold_run(inputs, SerialEngine()).sums, rest["cube"]
    require_whole(sums, inputs.book, cube)
    lots = sums.member_lots.copy()
    lots[0, 5] += 1
    hole = cube.copy()
    hole[3, 0] = np.nan
    for changed, holed, message in (
        ({"accounts": 27_999}, cube, "27999 accounts and .* were folded, the book has 28000"),
        ({"positions": 1}, cube, "1 positions were folded"),
        ({"unwritten": 2}, cube, "2 accounts were never written"),
        ({"inconsistent": 3}, cube, "3 accounts do not agree with themselves"),
        ({"member_lots": lots}, cube, "positions in instrument row 5 do not net to zero"),
        ({"system_loss": sums.system_loss * np.nan}, cube, "sums over blocks"),
        ({}, hole, "no number for instrument row 3; the run stays unpublished, run it again"),
    ):
        with pytest.raises(IncompleteRun, match=message):
            require_whole(dataclasses.replace(sums, **changed), inputs.book, holed)
