"""A run of a book written by hand: every stored number against the twin and against its laws."""

import json
from datetime import UTC, datetime
from unittest.mock import Mock

import numpy as np
import pytest

from risk.kernels.sums import UNIT
from storage.array_digest import dataset_digest
from storage.arrays import ACCOUNTS, BLOCKS, CUBE, FOLDS, INSTRUMENTS
from tests.conftest import approved
from tests.risk.margin_twin import Rules, margin_of_account
from workers.margin_run import MarginRun
from workers.plan import InputsDisagree, RunRequest

RULES = {"level": 0.9, "quantile": 0.95, "rate": 0.10, "maintenance_rate": 0.08,
         "maintenance_factor": 0.8}  # fmt: skip
NETTING = ("position", "settlement_currency", "account")


@pytest.fixture(scope="module")
def done(mixed_book, margin_of):
    return margin_of(mixed_book)


def short_notionals(book, run):
    """The notional of one option, zero for what is not an option, by row of the book."""
    return [
        row["multiplier"] * run.manifest["index"].get(row["underlying"], 0.0)
        if row["kind"] == "option"
        else 0.0
        for row in book.instruments().to_pylist()
    ]


def twins(book, run):
    """Every account by the twin, from the tables of the book and the market's index prices."""
    lot = book.instruments()["lot_size"].to_numpy()
    currency = book.instruments()["settlement_currency"].to_pylist()
    assets = book.assets().to_pylist()
    price = {"USD": 1.0} | run.manifest["index"]
    positions = book.position_slice(0, book.accounts)
    collateral = book.collateral_slice(0, book.accounts)
    table = book.account_table(0, book.accounts).to_pylist()
    held = set(book.held_reasons()["account"].to_pylist())
    stored = run.instruments.load()
    rules = Rules(netting=NETTING, origin=run.scenarios["origin"].values.tolist(), **RULES)
    cube, weight = run.cube["pnl"].values, run.scenarios["weight"].values
    short = short_notionals(book, run)
    for account, row in enumerate(table):
        value, priced = 0.0, True
        for at in range(collateral.offsets[account], collateral.offsets[account + 1]):
            asset = assets[collateral.asset[at]]
            if asset["underlying"] in price:
                each = price[asset["underlying"]] * (1.0 - asset["haircut"])
                value += float(collateral.quantity[at]) * each
            else:
                priced = False
        inside = range(positions.offsets[account], positions.offsets[account + 1])
        yield margin_of_account(
            [
                (
                    int(positions.instrument[at]),
                    int(positions.lots[at]) * lot[positions.instrument[at]],
                )
                for at in inside
            ],
            row["margin_mode"],
            value,
            account in held or not priced,
            cube,
            weight,
            stored["value"].values,
            short,
            currency,
            stored["priced"].values,
            rules,
        )


def test_every_account_is_the_twins(mixed_book, done):
    run = done.run
    accounts = run.accounts.load()
    expected = list(twins(mixed_book, run))
    assert sum(twin is None for twin in expected) == run.manifest["totals"]["held"] > 3
    for account, twin in enumerate(expected):
        stored = accounts.isel(account=account)
        if twin is None:
            assert int(stored["status"]) == 1
            for name in (
                "margin",
                "risk_measure",
                "equity",
                "requirement",
                "maintenance",
                "excess",
            ):
                assert np.isnan(stored[name].values).all()
            continue
        assert int(stored["status"]) == 0
        scale = max(1.0, twin["requirement"], abs(twin["equity"]))
        for name in ("margin", "risk_measure", "collateral_value", "position_value", "equity",
                     "requirement", "maintenance", "excess"):  # fmt: skip
            np.testing.assert_allclose(
                stored[name].values, twin[name], rtol=1e-11, atol=1e-11 * scale, err_msg=name
            )
        assert int(stored["netting_sets"]) == twin["netting_sets"]
        assert int(stored["positions"]) == twin["positions"]


def test_the_book_exercises_what_it_should(mixed_book, done):
    accounts = done.run.accounts.load()
    assert set(mixed_book.account_table(0, mixed_book.accounts)["margin_mode"].to_pylist()) == {
        0,
        1,
        2,
    }
    assert (accounts["positions"].values == 0).any()
    layers = accounts["margin"].values
    assert (np.nanmax(layers, axis=0) > 0.0).all()
    instruments = mixed_book.instruments().to_pylist()
    assert {(row["kind"], row["settlement"]) for row in instruments} >= {
        ("spot", "linear"),
        ("future", "linear"),
        ("future", "inverse"),
        ("perpetual", "linear"),
        ("perpetual", "inverse"),
        ("perpetual", "quanto"),
        ("option", "linear"),
        ("option", "inverse"),
    }
    assert not done.run.instruments["priced"].values.all()


def test_accounts_in_are_accounts_margined_and_held(mixed_book, done):
    totals = done.run.manifest["totals"]
    assert totals["accounts"] == mixed_book.accounts
    assert totals["margined"] + totals["held"] == mixed_book.accounts
    assert 0 < totals["held"] < totals["margined"]
    assert done.run.folds["member_accounts"].values.sum() == totals["margined"]
    assert done.run.folds["requirement_count"].values.sum() == totals["margined"]
    assert done.run.folds["utilisation_count"].values.sum() == totals["margined"]
    accounts = done.run.accounts
    assert totals["requirement"] == pytest.approx(np.nansum(accounts["requirement"]), rel=1e-12)
    assert totals["equity"] == pytest.approx(np.nansum(accounts["equity"]), rel=1e-12)
    short = np.maximum(-accounts["excess"].values, 0.0)
    assert totals["shortfall"] == pytest.approx(np.nansum(short), rel=1e-12)
    assert totals["accounts_short"] == (short > 0.0).sum()
    assert totals["positions"] == mixed_book.positions


def test_pnl_of_all_members_is_zero(mixed_book, done):
    """Held accounts included: a contract has two sides, whoever may be margined."""
    folds = done.run.folds
    gross = np.abs(folds["member_pnl"].values).sum(axis=0)
    assert (gross > 0.0).any()
    np.testing.assert_allclose(folds["member_pnl"].values.sum(axis=0), 0.0, atol=1e-9 * gross.max())


def test_folds_are_sums_over_accounts(mixed_book, done):
    run, folds = done.run, done.run.folds
    member = mixed_book.account_table(0, mixed_book.accounts)["member"].to_numpy()
    margin = np.nan_to_num(run.accounts["margin"].values)
    for row in range(mixed_book.members().num_rows):
        np.testing.assert_allclose(
            folds["member_margin"].values[row], margin[member == row].sum(axis=0), rtol=1e-12
        )
    scenario_layers = margin[:, :2].sum()
    for group in ("underlying", "venue", "protocol", "chain"):
        split = folds[f"{group}_requirement"].values
        # Each position is off by half a unit at most.
        off = mixed_book.positions * UNIT / 2
        assert split.sum() == pytest.approx(scenario_layers, rel=1e-9, abs=off)
    # Every contract is somebody's gain and somebody's loss.
    long = np.array(mixed_book.manifest["long_lots"]) * run.instruments["lot_size"].values
    paid = (np.abs(run.cube["pnl"].values) * long[:, None]).sum(axis=0)
    for group in ("underlying", "venue", "protocol", "chain"):
        np.testing.assert_allclose(folds[f"{group}_transfer"].values.sum(axis=0), paid, rtol=1e-12)
    pnl = [twin["pnl"] for twin in twins(mixed_book, run) if twin is not None]
    equity = [twin["equity"] for twin in twins(mixed_book, run) if twin is not None]
    pnl, equity = np.array(pnl), np.array(equity)[:, None]
    for name, loss in (("loss", -pnl), ("uncovered", -pnl - equity)):
        terms = np.round(np.maximum(loss, 0.0) / UNIT) * UNIT
        # A term that is half a unit but for its last bits goes either way.
        np.testing.assert_allclose(folds[name], terms.sum(axis=0), rtol=0, atol=UNIT)
    assert folds["under_water"].values.tolist() == (pnl + equity < 0.0).sum(axis=0).tolist()


def test_arrays_are_as_declared(done):
    run = done.run
    for group, variables in (
        (run.accounts, ACCOUNTS),
        (run.blocks, BLOCKS),
        (run.cube, CUBE),
        (run.folds, FOLDS),
        (run.instruments, INSTRUMENTS),
    ):
        for variable in variables:
            found = group[variable.name]
            assert found.dims == variable.dims
            assert found.attrs["units"] == variable.unit
            assert found.attrs["long_name"] == variable.meaning
            if variable.dtype != "object" and found.size:
                assert found.dtype == variable.dtype, variable.name


def test_the_manifest_says_what_the_run_was_made_of(mixed_book, done, small_methodology):
    manifest = done.run.manifest
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["inputs"]["book"]["digest"] == mixed_book.digest
    assert manifest["inputs"]["methodology"]["name"] == "small"
    assert [stage["name"] for stage in manifest["stages"]] == [
        "prepare",
        "price cube",
        "margin",
        "fold",
        "verify",
    ]
    assert all(stage["wall_s"] > 0.0 for stage in manifest["stages"])
    for group, digest in manifest["digests"].items():
        assert dataset_digest(getattr(done.run, group)) == digest
    created = datetime.fromisoformat(manifest["created"])
    assert created.tzinfo is not None
    assert abs((datetime.now(UTC) - created).total_seconds()) < 3600


@pytest.mark.parametrize("change", ["book", "rate", "nothing"])
def test_the_key_is_of_what_decides_the_numbers(
    mixed_book, synthetic_book, done, margin_of, small_methodology, tmp_path, change
):
    methodology = tmp_path / "other.toml"
    text = small_methodology.read_text()
    other = approved(text.replace("initial = 0.10", "initial = 0.20"))
    methodology.write_text(other if change == "rate" else text)
    book = synthetic_book(9_000) if change == "book" else mixed_book
    request = RunRequest(
        book=book.path, methodology=str(methodology), runs=done.request.runs, shards=1, threads=2
    )
    with MarginRun(request, None, None) as run:
        assert run.prepare() == (change == "nothing")
        assert (run.run_id == done.run.run_id) == (change == "nothing")


def test_no_clock_is_part_of_a_key_or_of_a_number(
    mixed_book, done, margin_of, tmp_path, monkeypatch
):
    """A run that is made late, or on a clock that goes back, is the run that was made in time."""
    going_back = map(float, range(4_000_000_000, 0, -1_000))
    monkeypatch.setattr("time.time", lambda: next(going_back))
    for year in (2031, 2001):
        now = Mock(wraps=datetime, **{"now.return_value": datetime(year, 1, 1, tzinfo=UTC)})
        monkeypatch.setattr("workers.manifest.datetime", now)
        late = margin_of(mixed_book, runs=tmp_path / str(year))
        assert late.run.manifest["created"].startswith(str(year))
        assert late.run.run_id == done.run.run_id
        assert late.run.manifest["digests"] == done.run.manifest["digests"]
        assert all(0.0 <= stage["wall_s"] < 600.0 for stage in late.run.manifest["stages"])


def test_a_book_of_another_instant_is_refused(mixed_book_at, small_methodology, tmp_path):
    book = mixed_book_at(datetime(2024, 1, 8, 12, 0, tzinfo=UTC))
    request = RunRequest(book=book.path, methodology=str(small_methodology), runs=tmp_path)
    with (
        pytest.raises(InputsDisagree, match=r"ASOF_MISMATCH: .*12:00:00.*11:19:41"),
        MarginRun(request, None, None) as run,
    ):
        run.prepare()


def test_stages_out_of_order_are_refused(mixed_book, small_methodology, tmp_path):
    request = RunRequest(book=mixed_book.path, methodology=str(small_methodology), runs=tmp_path)
    with MarginRun(request, None, None) as run:
        run.prepare()
        with pytest.raises(RuntimeError, match="before fold"):
            run.publish()
