"""The scaling model: what it was fitted to it gives again, and what it was not is near."""

import dataclasses
import json
from pathlib import Path

import pytest

from infra.scaling.measure import CountingEngine
from infra.scaling.model import Constants, Job, fit, job_of, predict
from infra.scaling.page import PAGE, PICTURE, drawn, training, typical, with_tables

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / "infra" / "scaling" / "measured.json").read_text())
POINTS = MEASURED["points"]
NEAR = 0.25
FORETOLD = 0.25  # ten times the largest size that was fitted

KNOWN = Constants(
    *(6.0, 0.5, 2e-7, 0.2, 4e-8),
    *(0.3, 2e-10, 3e-6, 0.05, 0.01),
    *(0.1, 4e-6, 0.2, 1e-7),
    *(8e8, 2e8, 90.0),
    *(85.0, 4e6, 22.0),
)


def named(point):
    return f"{point['accounts']}-{point['scenarios']}-{point['cores']}-{point['shards']}"


def made_up(accounts, scenarios, cores, shards):
    """A point as it would be measured if things cost what is known."""
    job = Job(accounts, 11 * accounts, scenarios, 900, cores, shards)
    found = predict(KNOWN, job)
    busy = (
        KNOWN.margin_position_scenario * job.positions * scenarios
        + KNOWN.margin_account * accounts
        + KNOWN.margin_shard * job.shard_count
    )
    return {
        **dataclasses.asdict(job),
        "wall": found.wall,
        "seconds": found.seconds,
        "margin_busy": busy,
        "peak_memory_bytes": found.memory_bytes,
        "book_bytes": KNOWN.book_account * accounts,
        "run_bytes": KNOWN.run + KNOWN.run_account * accounts,
    }


@pytest.mark.parametrize("point", POINTS, ids=named)
def test_the_model_is_near_what_was_measured(point):
    assert predict(fit(POINTS), job_of(point)).wall == pytest.approx(point["wall"], rel=NEAR)


def test_the_largest_run_is_foretold_by_the_smaller_ones():
    smaller = training(POINTS)
    largest = max(POINTS, key=lambda point: point["accounts"])
    assert largest["accounts"] >= 10 * max(point["accounts"] for point in smaller)
    found = predict(fit(smaller), job_of(largest))
    assert found.wall == pytest.approx(largest["wall"], rel=FORETOLD)


def test_the_constants_of_made_up_runs_are_found_again():
    points = [
        made_up(accounts, scenarios, cores, shards)
        for accounts in (65_536, 1_048_576)
        for scenarios, cores, shards in ((1_000, 2, None), (500, 2, 16), (1_000, 1, 8))
    ]
    found = fit(points)
    for field in dataclasses.fields(Constants):
        assert getattr(found, field.name) == pytest.approx(getattr(KNOWN, field.name), rel=1e-3)


def test_too_few_runs_are_refused():
    with pytest.raises(ValueError, match="2 points were given"):
        fit(POINTS[:2])


def test_a_wave_waits_for_its_last_shard():
    ten_shards = Job(655_360, 6_553_600, 1_000, 900, cores=3)
    assert (ten_shards.shard_count, ten_shards.rounds) == (10, 4)  # eight on three, then two
    assert Job(10, 100, 1_000, 900, cores=64).longest == 1.0
    assert Job(1_048_576, 10_485_760, 1_000, 900, cores=2).longest == 0.5


def test_cores_shorten_margin_and_not_what_one_process_does():
    few, many = (
        predict(KNOWN, Job(10**8, 10**9, 1_000, 900, cores=cores)).seconds for cores in (16, 64)
    )
    assert few["margin"] > 2 * many["margin"]
    assert few["fold"] == many["fold"]
    assert few["verify"] == many["verify"]


def test_cost_is_cores_times_time_times_price():
    found = predict(KNOWN, Job(1_000_000, 11_000_000, 1_000, 900, cores=8))
    assert found.cost(0.05) == pytest.approx(8 * found.wall / 3_600 * 0.05)


def test_the_page_shows_what_was_measured():
    page = (ROOT / PAGE).read_text()
    assert with_tables(page, MEASURED) == page
    assert drawn(MEASURED) == (ROOT / PICTURE).read_text()


def test_a_page_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="<!-- points -->"):
        with_tables("no marks", MEASURED)


def test_a_job_like_those_measured_has_their_positions():
    point = POINTS[0]
    assert typical(MEASURED, 2 * point["accounts"], 2).positions == 2 * point["positions"]


def test_positions_do_not_cross(synthetic_book, margin_of):
    """Twice the accounts, the same bytes shared: tasks read what accounts hold from storage."""
    shared = []
    for accounts in (4_096, 8_192):
        engine = CountingEngine()
        run = margin_of(synthetic_book(accounts), engine=engine).run
        cube = run.cube["pnl"].values.nbytes
        assert cube < engine.shared["margin_shard"] < cube + 500_000
        assert engine.item["margin_shard"] < 500
        assert engine.result["margin_shard"] < 50_000
        shared.append(engine.shared["margin_shard"])
    assert shared[1] == pytest.approx(shared[0], abs=200)
