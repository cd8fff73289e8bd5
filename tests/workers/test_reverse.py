"""Reverse stress of a book: by hand of two accounts, and the same bits however it is cut."""

import io
import json
import math
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import plotly.graph_objects as go
import pytest
from rich.console import Console
from scipy.stats import chi2

from flows.cleaning import clean_stores
from flows.commands.stress_reverse import run_reverse
from flows.format import money
from flows.report.stress import reverse as page
from flows.reverse_tables import out_of_reach, print_reverse
from flows.settings import Settings
from flows.stores import store_of, stores
from flows.stress_view import newest_reverse, stress_view
from storage.array_digest import dataset_digest
from storage.arrays import REVERSE
from storage.backup import back_up
from storage.restore import restore
from storage.runs import RunStore
from storage.signature import Signer, new_key, verify_signature
from tests.conftest import approved
from tests.workers.by_hand import CALM_PLAN, METHODOLOGY, PLAN, PRICE, perpetuals_book
from tests.workers.stressed import plan_file, stress
from tests.workers.test_stress_winners import with_winners
from tests.workers.test_verify import forge, forged, named_in
from workers.engine import SerialEngine
from workers.memory import Limit, Room, TooLargeForMemory
from workers.reverse.losses import MemberLosses, ShockInputs
from workers.reverse.request import ReverseRequest, identify_reverse, reverse_store
from workers.reverse.run import ReverseRun
from workers.shards import cut
from workers.stress.batch import stress_inputs
from workers.stress.request import StressRequest
from workers.verify import differences, verify_reverse

HISTORY = """
[historical]
holding_period_hours = 48
step_hours = 35
start = 2022-05-20T00:00:00Z
end = 2022-07-10T00:00:00Z
volatility_half_life_hours = 96.0
"""
COINS = 10.0


@pytest.fixture(scope="module")
def asked(margin_of, tmp_path_factory):
    """Two accounts of ten coins each, of two members: one with 1 P behind them, one with 2 P."""
    folder = tmp_path_factory.mktemp("reverse")
    methodology = folder / "tenth.toml"
    methodology.write_text(approved(METHODOLOGY + HISTORY))
    book = perpetuals_book(folder, [(10_000, 1.0 * PRICE), (10_000, 2.0 * PRICE)])
    done = margin_of(book, methodology=str(methodology))
    return ReverseRequest(
        run=done.run.run_id,
        plan=plan_file(folder, PLAN.replace("{volume}", repr(1e9 * PRICE))),
        resources=(str(0.5 * PRICE), str(2.0 * PRICE), str(1e12)),
        defaulters=(1, 2),
        runs=done.request.runs,
        reverses=folder / "reverses",
    )


@pytest.fixture(scope="module")
def made(asked):
    with ReverseRun(asked, SerialEngine) as run:
        assert not run.prepare()
        run.search()
        run.publish()
        return run, reverse_store(asked.reverses).read(run.run_id)


def test_the_nearest_shock_is_that_of_the_coin_alone(made):
    """The fall f at which losses exceed equity by the resource; its distance is ln(1 - f) over the
    deviation of that coin, whatever the other factors, which come with it by their covariance."""
    run, stored = made
    found = stored.groups["found"].load()
    falls = {
        # Whoever has 1 P loses it at a tenth, and half of it once more at 15 %; the other stands.
        0: 0.15,
        # Both: 20 f - 3 = 2.
        1: 0.25,
        # Two members: as all. One member: 10 f - 1 = 0.5.
        3: 0.15,
        4: 0.15,
    }
    covariance = run.moves.covariance
    for row, fall in falls.items():
        move = math.log(1.0 - fall)
        distance = -move / math.sqrt(covariance[0, 0])
        assert found["distance"].values[row] == pytest.approx(distance, rel=1e-3)
        assert found["price"].values[row, 0] == pytest.approx(-fall, rel=1e-6)
        other = np.expm1(move * covariance[1, 0] / covariance[0, 0])
        assert found["price"].values[row, 1] == pytest.approx(other, abs=0.02)
        tail = chi2.sf(found["distance"].values[row] ** 2, 6)
        assert found["tail_probability"].values[row] == pytest.approx(tail)
    assert np.isnan(found["distance"].values[2])
    # Where nothing is reached the search looks along its rays: no farther than 20 f - 3 at the
    # deepest fall at a distance of 16, and not far from it.
    deepest = -math.expm1(-16.0 * math.sqrt(covariance[0, 0]))
    most_there_is = (20.0 * deepest - 3.0) * PRICE
    assert 0.75 * most_there_is < found["drawn"].values[2] <= most_there_is
    (said,) = out_of_reach(stored.manifest, found)
    most = money(float(found["drawn"].values[2]))
    assert said == (
        "1,000,000,000,000 USD: no shock up to a distance of 16 exhausts it; the most that any of "
        f"those tried draws is {most} of USD 1.00 tn"
    )
    assert found["drawn"].values[[0, 1]] == pytest.approx([0.5 * PRICE, 2.0 * PRICE], rel=1e-6)
    np.testing.assert_array_equal(
        found["drawn_by_all_accounts"].values[[0, 1]], found["drawn"].values[[0, 1]]
    )
    assert found["uncovered_alone"].values[1] == pytest.approx(2.0 * PRICE, rel=1e-6)
    # 20 coins, a quarter of each, and fees of a two hundredth for whoever is closed.
    assert found["lost_alone"].values[1] == pytest.approx(5.0 * PRICE, rel=1e-6)
    assert found["lost"].values[1] == pytest.approx(5.0 * PRICE + 0.1 * PRICE, rel=1e-3)


def test_windows_of_history_are_told_by_their_distance(made):
    run, stored = made
    history = stored.groups["history"].load()
    squared = history["distance"].values ** 2
    assert squared.mean() == pytest.approx(len(run.moves.names))
    found = stored.groups["found"].load()
    for row in (0, 1):
        far = (history["distance"].values >= found["distance"].values[row]).mean()
        assert found["empirical_frequency"].values[row] == far
    btc = np.expm1(history["move"].values[:, 0])
    assert found["exhausting_windows"].values[0] == (btc <= -0.15).sum() > 0


def test_it_is_recognised_and_is_what_its_digests_say(made, asked):
    _, stored = made
    with ReverseRun(asked, SerialEngine) as run:
        assert run.prepare()
    for group, digest in stored.manifest["digests"].items():
        assert dataset_digest(stored.groups[group]) == digest


def test_what_is_asked_wrongly_is_refused(asked):
    for changes, message in (
        ({"resources": ("luck",)}, "no layer 'luck' that can be exhausted"),
        ({"resources": ("-5",)}, "resource is -5; allowed is an amount of USD above 0"),
        ({"resources": ("1e300",)}, r"and below 8,796,093,022,208, or a layer of \['insurance"),
        ({"resources": ("5", "5.0")}, "name one twice"),
        ({"defaulters": (2, 1)}, r"defaulters are \[2, 1\]; allowed are numbers from 1 up"),
        ({"defaulters": (1, 3)}, "the book has 2 members; allowed are numbers from 1 to 2,"),
        ({"sample": 0}, "sample is 0 blocks; allowed is 1 or more"),
    ):
        with (
            ReverseRun(replace(asked, **changes), SerialEngine) as run,
            pytest.raises(ValueError, match=message),
        ):
            run.prepare()
    usual = identify_reverse(replace(asked, defaulters=None))
    assert usual.defaulters == (1, 2), "of 1, 2, 4 and 8 those that there are members for"
    with pytest.raises(ValueError, match=r"defaulters '1,two' has \['two'\]"):
        run_reverse(Settings(), asked.run, None, [], "1,two", None)


def test_it_is_verified_and_what_was_changed_is_named(made, asked, tmp_path):
    _, stored = made
    runs = RunStore(asked.runs)
    assert differences(verify_reverse(reverse_store(asked.reverses), stored.run_id, runs)) == []
    for name, change, message in (
        ("shortfall", lambda values: values + 1.0, "what winners gave up, are the shortfall"),
        ("price", lambda values: 0.9 * values, "the distance is that of the shock"),
        ("drawn", lambda values: 0.5 * values, "what is drawn exhausts the resource"),
    ):
        shutil.copytree(asked.reverses, tmp_path / name)
        run = forged(tmp_path / name, "found", name, change)
        found = differences(verify_reverse(reverse_store(tmp_path / name), run, runs))
        assert any(message in one for one in found)


def test_targets_history_and_cascades_are_made_again(asked, tmp_path):
    """Whoever shrinks the covariance, and tells distance and chance by it, is found by history."""
    half, more = (lambda values: 0.5 * values), (lambda values: values + 1)
    changes = {
        "history/covariance": lambda values: values / 9.0,
        "history/uncovered": more,
        "found/resource": half,
        "found/defaulters": more,
        "found/exhausting_windows": more,
        "found/empirical_frequency": half,
        "found/tail_probability": half,
        "found/touched": more,
    }

    def tell(manifest):
        manifest["key"] = 64 * "f"
        manifest["inputs"]["plan"]["digest"] = manifest["inputs"]["run"]["digest"] = 64 * "0"
        manifest["totals"] = {}

    shutil.copytree(asked.reverses, tmp_path / "reverses")
    run = forge(tmp_path / "reverses", changes, tell)
    store = reverse_store(tmp_path / "reverses")
    found = differences(verify_reverse(store, run, RunStore(asked.runs)))
    said = ("manifest: key", "inputs/plan: digest", "inputs/run: digest", "totals: exhausted")
    assert not named_in(found, [*changes, *said])


def test_every_command_on_runs_knows_it(made, asked, tmp_path):
    _, stored = made
    settings = Settings.given(home=tmp_path, runs=asked.runs, reverses=asked.reverses)
    store, name = store_of(settings, stored.run_id)
    assert (store.kind, name) == (REVERSE, stored.run_id)
    back_up(list(stores(settings)), tmp_path / "backup")
    targets = {"margin": tmp_path / "runs", "reverse": tmp_path / "reverses"}
    restore(tmp_path / "backup", targets, over=False)
    assert reverse_store(tmp_path / "reverses").read(name).manifest == stored.manifest
    done = clean_stores(list(stores(settings)), 0, None, datetime.now(UTC), dry_run=True)
    assert done.kept[name] == "the latest"
    assert asked.run in done.kept


def test_too_little_memory_is_refused_before_the_search(asked):
    rooms = [Room(Limit(1_000_000, "machine"), 2)]
    with (
        ReverseRun(replace(asked, defaulters=()), SerialEngine, rooms=lambda: rooms) as run,
        pytest.raises(TooLargeForMemory, match=r"the machine leaves 0\.00 GB"),
    ):
        run.prepare()


def test_what_winners_give_up_is_in_the_shortfall_and_it_is_signed(margin_of, tmp_path):
    # A is long 10 coins on 0.3 P and owes 0.2 P at a fall of 5 %; the others gain, and close
    # against it at the price at which it has nothing left: they give up those 0.2 P.
    methodology = tmp_path / "tenth.toml"
    methodology.write_text(approved(METHODOLOGY + HISTORY))
    holdings = [(10_000, 0.3 * PRICE), (-6_000, 2.0 * PRICE), (-8_000, 8.0 * PRICE)]
    done = margin_of(perpetuals_book(tmp_path, holdings), methodology=str(methodology))
    plan = with_winners(CALM_PLAN, "at_backstop")
    public, _ = new_key(tmp_path / "key.pem")
    request = ReverseRequest(
        run=done.run.run_id,
        plan=plan_file(tmp_path, plan),
        resources=(str(0.2 * PRICE),),
        defaulters=(),
        runs=done.request.runs,
        reverses=tmp_path / "reverses",
    )
    with ReverseRun(request, SerialEngine) as run:
        run.prepare()
        run.search()
        run.publish(signer=Signer(tmp_path / "key.pem"))
    store = reverse_store(request.reverses)
    found = store.read(run.run_id).groups["found"].load()
    assert found["given_up"].values == pytest.approx([0.2 * PRICE], rel=1e-5)
    assert found["uncovered"].values == [0.0]
    np.testing.assert_array_equal(found["shortfall"].values, found["given_up"].values)
    assert verify_signature(store, run.run_id, public).signature is not None
    assert differences(verify_reverse(store, run.run_id, done.store)) == []


def test_page_and_terminal_tell_what_was_found(made, asked, tmp_path):
    _, stored = made
    done = stress(StressRequest(asked.run, asked.plan, asked.runs, tmp_path / "stresses"))
    view = stress_view(done.run, newest_reverse(asked.reverses, done.run))
    assert view.reverse is not None
    picture, table = page.frontier(view), page.shocks(view)
    assert [choice.label for choice in picture.choices] == ["By resource", "By members"]
    found = stored.groups["found"].load()
    distances = found["distance"].values
    assert picture.choices[0].traces[0]["y"] == pytest.approx(distances[:2], rel=1e-6)
    assert picture.choices[1].traces[0]["x"] == [1.0, 2.0]
    assert [row[2] for row in table.rows][1:3] == [f"{distances[1]:.2f}", "out of reach"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    for choice in picture.choices:
        text = json.dumps({"data": choice.traces, "layout": choice.layout})
        go.Figure(json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', text)))
    output = io.StringIO()
    print_reverse(Console(file=output, width=180), stored)
    assert "Model not approved" not in output.getvalue()
    assert "out of reach" in output.getvalue()
    assert f"{distances[1]:.2f}" in output.getvalue()
    missing = {"approval": {"missing": ["plan 1: it has no [approval]"]}, "reason": "a try"}
    print_reverse(Console(file=output, width=180), replace(
        stored, manifest=stored.manifest | missing))  # fmt: skip
    assert "Model not approved. Run all the same: a try" in output.getvalue()
    # Of another plan it tells nothing.
    other = replace(done.run, manifest={**done.run.manifest, "inputs": {
        **done.run.manifest["inputs"], "plan": {"digest": "another"}}})  # fmt: skip
    assert newest_reverse(asked.reverses, other) is None
    assert "margincube stress reverse" in page.frontier(stress_view(done.run)).text


@pytest.fixture(scope="module")
def large(synthetic_book, margin_of, tmp_path_factory):
    """A prepared reverse stress of three blocks of accounts."""
    done = margin_of(synthetic_book(9_000))
    folder = tmp_path_factory.mktemp("large")
    request = ReverseRequest(
        run=done.run.run_id, plan=plan_file(folder), runs=done.request.runs, reverses=folder
    )
    with ReverseRun(request, SerialEngine) as run:
        run.prepare()
        yield run


def test_how_accounts_are_cut_changes_no_bit(large):
    inputs = ShockInputs(stress_inputs(large.work, large.request.runs, 1), large.work.ground)
    moves = 4.0 * large.moves.observed[:9]
    engine = SerialEngine()
    whole = MemberLosses(engine, inputs, tuple(large.work.shards))(moves)
    parts = MemberLosses(engine, inputs, tuple(cut(9_000, 4_096)))(moves)
    assert (whole > 0.0).any(axis=1).sum() > 3
    np.testing.assert_array_equal(whole, parts)
    two = MemberLosses(Two(), inputs, tuple(cut(9_000, 4_096)))
    np.testing.assert_array_equal(two(moves), whole)
    np.testing.assert_array_equal(replace(two, scale=2.0)(moves), 2.0 * whole)


class Two(SerialEngine):
    """Says that it has two workers, so that shards are shared out."""

    workers = 2


def test_a_sample_is_whole_blocks_of_the_book(large):
    large.request = replace(large.request, sample=2)
    shards, scale = large._looked_at()
    assert [(one.start, one.stop) for one in shards] == [(0, 4_096), (8_192, 9_000)]
    assert scale == 9_000 / (4_096 + 808)
