"""A stress run: the same bits however it is cut, and what must hold of any."""

import dataclasses

import numpy as np
import pytest

from risk.kernels.sums import UNIT
from storage.array_digest import dataset_digest
from tests.workers.stressed import SMALL_PLAN, plan_file, stress
from workers.dask_engine import DaskEngine
from workers.engine import SerialEngine
from workers.stress.request import StressRequest, UnknownPlan, stress_store
from workers.stress.run import StressRun
from workers.stress.tasks import stress_shard

ACCOUNTS = 9_000
"""Three blocks, so that three shards are three."""


@pytest.fixture(scope="module")
def margined(synthetic_book, margin_of):
    return margin_of(synthetic_book(ACCOUNTS))


@pytest.fixture(scope="module")
def request_of(margined, tmp_path_factory):
    """Return a function that asks for a stress run into a store of its own."""

    def request(text=SMALL_PLAN, *, changes=(), **options):
        folder = tmp_path_factory.mktemp("stress")
        given = {
            "run": margined.run.run_id,
            "plan": plan_file(folder, text, **dict(changes)),
            "runs": margined.request.runs,
            "stresses": folder / "stresses",
        }
        return StressRequest(**(given | options))

    return request


@pytest.fixture(scope="module")
def alone(request_of):
    """One shard, all scenarios in one batch, one process."""
    return stress(request_of(shards=1, batch=64))


@pytest.fixture(scope="module")
def ray_engine():
    from workers.ray_engine import RayEngine

    engine = RayEngine(2)
    yield engine
    engine.close()


def test_the_book_exercises_the_plan(alone):
    touched, rounds = alone.values("touched"), alone.values("rounds")
    assert (touched > 50).sum() > 5
    assert rounds.max() > 5
    assert alone.values("ended").all()
    assert (np.abs(alone.values("taken_by_instrument")).sum(axis=1) > 0.0).sum() > 3
    assert alone.values("uncovered").sum() > 0.0
    # Rounds differ, so that scenarios of a batch end apart.
    assert len(set(rounds.tolist())) > 3


@pytest.mark.parametrize(("shards", "batch"), [(3, 64), (1, 5), (3, 5), (2, 1)])
def test_how_accounts_and_scenarios_are_cut_changes_no_bit(alone, request_of, shards, batch):
    cut = stress(request_of(shards=shards, batch=batch))
    assert cut.run.manifest["digests"] == alone.run.manifest["digests"]
    assert cut.digest == alone.digest


def test_dask_gives_the_same_bits(alone, request_of):
    engine = DaskEngine(2)
    assert stress(request_of(shards=3, batch=5), engine).digest == alone.digest


@pytest.mark.slow
def test_ray_gives_the_same_bits(alone, request_of, ray_engine):
    assert stress(request_of(shards=3, batch=5), ray_engine).digest == alone.digest


def test_layers_bear_the_whole_loss(alone):
    """What accounts lost beyond their equity and what the vault lost, to the last bit."""
    totals = alone.run.groups["totals"]
    vault = np.maximum(-alone.values("vault_pnl"), 0.0)
    lost = alone.values("uncovered").sum(axis=1) + vault
    borne = totals["borne"].values
    assert (lost > 0.0).any()
    np.testing.assert_array_equal(borne.sum(axis=1) + totals["unborne"].values, lost)
    np.testing.assert_array_equal(totals["shortfall"].values, lost)
    assert (totals["cover_1"].values <= totals["cover_2"].values).all()
    beyond = np.maximum(alone.values("uncovered") - totals["default_fund"].values, 0.0)
    np.testing.assert_allclose(totals["cover_1"].values, beyond.max(axis=1), atol=2 * UNIT)


def test_what_is_stored_is_what_its_digests_say(alone):
    for group, digest in alone.run.manifest["digests"].items():
        assert dataset_digest(alone.run.groups[group]) == digest


def test_the_same_run_is_recognised_however_it_is_cut(request_of):
    request = request_of(shards=1)
    made = stress(request)
    again = stress(dataclasses.replace(request, shards=3, batch=2))
    assert (made.recognised, again.recognised) == (False, True)
    assert again.digest == made.digest
    assert len(made.store.manifests()) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('origins = ["event"]', 'origins = ["event", "prophecy"]', r"origin \['prophecy'\]"),
        ('of = ["liquidation cascade"]', 'of = ["flood"]', "makes 'flood' more severe"),
        ('coin = "SOL"', 'coin = "DOGE"', r"no market for \['SOL'\], which the book trades"),
        ("default = -0.2", "BTC = -0.2", r"SCENARIO_INCOMPLETE: event 'down'.*\['ETH', 'SOL'\]"),
        ('name = "down"', 'name = "stablecoin depeg"', "DUPLICATE_SCENARIO"),
    ],
)
def test_a_plan_that_asks_for_what_is_not_there_is_refused(request_of, old, new, message):
    assert old in SMALL_PLAN
    request = request_of(SMALL_PLAN.replace(old, new))
    with (
        StressRun(request, SerialEngine) as run,
        pytest.raises(ValueError, match=message),
    ):
        run.prepare()
    assert stress_store(request).manifests() == []


def test_an_unknown_plan_and_an_empty_batch_are_refused(request_of):
    with pytest.raises(UnknownPlan, match="no stress plan 'nothing'; shipped are"):
        stress(request_of(plan="nothing"))
    with pytest.raises(ValueError, match="batch is 0; allowed is 1 or more"):
        stress(request_of(batch=0))


def below_already(margined):
    """Accounts with positions that are below maintenance before anything moves."""
    accounts = margined.run.accounts.load()
    held = accounts["status"].values != 0
    below = accounts["equity"].values < accounts["maintenance"].values
    return int((below & ~held & (accounts["positions"].values > 0)).sum())


def test_where_nothing_moves_only_who_is_below_already_is_closed(alone, margined, request_of):
    already = below_already(margined)
    assert already > 0
    quiet = alone.row("all quiet")
    assert alone.values("liquidated")[quiet, 0] == already
    # Where selling hardly moves a price, nobody else follows.
    calm = stress(request_of(changes={"coefficient": "1e-12"}.items()))
    assert calm.values("touched")[quiet] == already
    assert (np.abs(calm.values("price")[quiet] - 1.0) < 1e-9).all()


def test_first_losses_are_those_of_nobody_closed(alone, request_of):
    """They hang on the scenario alone: neither impact, depth nor how accounts are closed."""
    other = stress(request_of(changes={"coefficient": "2.0", "closing": '"all"'}.items()))
    for name in ("lost_alone", "uncovered_alone"):
        np.testing.assert_array_equal(other.values(name), alone.values(name))


class Watching(SerialEngine):
    """Keeps the last state of every shard, and the accounts that it is of."""

    def __init__(self):
        self.states, self.items, self.inputs = {}, {}, None

    def map(self, function, shared, items):
        for item in items:
            result = function(shared, item)
            if function is stress_shard:
                self.states[result.index], self.items[result.index] = result.round.state, item
                self.inputs = shared
            yield result


def test_no_contract_is_lost(margined, synthetic_book, request_of):
    """What accounts had is what they still have, what was sold and what the vault took."""
    engine = Watching()
    done = stress(request_of(shards=3, batch=64), engine)
    sold, taken = done.values("sold_by_instrument"), done.values("taken_by_instrument")
    notional = done.run.groups["plan"]["notional"].values
    book = synthetic_book(ACCOUNTS)
    lot_size = book.instruments()["lot_size"].to_numpy()
    status = margined.run.accounts["status"].values
    had, left, terms = (np.zeros_like(sold) for _ in range(3))
    rows = 0
    for index, state in engine.states.items():
        shard = engine.items[index].shard
        positions = book.position_slice(shard.start, shard.stop)
        owner = np.repeat(np.arange(shard.stop - shard.start), np.diff(positions.offsets))
        size = positions.lots * lot_size[positions.instrument] * notional[positions.instrument]
        size = np.where(status[shard.start : shard.stop][owner] == 0, size, 0.0)
        touched = state.row[owner] >= 0
        remaining = np.ones((len(owner), sold.shape[0]))
        remaining[touched] = state.remaining[state.row[owner[touched]]]
        np.add.at(had.T, positions.instrument, size[:, np.newaxis])
        np.add.at(left.T, positions.instrument, remaining * size[:, np.newaxis])
        np.add.at(terms.T, positions.instrument, touched[:, np.newaxis].astype(float))
        rows += int(touched.sum())
    assert rows > 1_000
    # Every term that is added up is rounded to whole units, once in every round.
    allowed = UNIT * terms * done.values("sold").shape[1] + 1e-9 * np.abs(had)
    assert (np.abs(had - left - sold - taken) <= allowed).all()
    assert np.abs(sold).sum() > 1e6
    assert np.abs(taken).sum() > 1e6


def test_a_held_account_is_neither_closed_nor_loses(mixed_book, margin_of, tmp_path):
    margined = margin_of(mixed_book)
    held = np.flatnonzero(margined.run.accounts["status"].values != 0)
    assert len(held) > 3
    engine = Watching()
    request = StressRequest(
        run=margined.run.run_id,
        plan=plan_file(tmp_path),
        runs=margined.request.runs,
        stresses=tmp_path / "stresses",
    )
    stress(request, engine)
    (state,) = engine.states.values()
    assert (state.row[held] == -1).all()
    assert (state.row >= 0).sum() > 3
