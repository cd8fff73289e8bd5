"""Verification finds nothing wrong with a run that is right, and names what is made wrong."""

import json
import random
import shutil

import icechunk
import numpy as np
import pytest
import zarr

from risk.reference import reprice
from risk.revaluation import VolatilityTenor, contract_value, revalue
from risk.scenarios.shocks import shocks_of
from storage.digest import json_digest, text_digest
from storage.runs import RunStore
from workers.revaluation import terms_and_market_of
from workers.verify import differences, verify_collateral, verify_margin
from workers.verify.accounts import recompute
from workers.verify.checks import Check, checked_run
from workers.verify.margined_again import MarginedAgain


@pytest.fixture(scope="module")
def done(mixed_book, margin_of):
    return margin_of(mixed_book)


@pytest.fixture
def copy(done, tmp_path):
    shutil.copytree(done.store.path, tmp_path / "runs")
    return tmp_path / "runs"


def found_in(store, name="latest"):
    return differences(verify_margin(store, name, sample=60, seed=1))


def rewritten(path, group, name, change, **manifest):
    """Return the store of the only run, and the name of that run with one array changed."""
    return RunStore(path), forged(path, group, name, change, **manifest)


def forged(path, group, name, change, **manifest):
    """Publish the only run anew with one array changed, as somebody with a key to the store may."""
    return forge(path, {f"{group}/{name}": change}, lambda told: told.update(manifest))


def forge(path, changes, tell=lambda manifest: None):
    """Publish the only run anew under its name, arrays changed and what its manifest tells."""
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(path / "repository"))
    (tag,) = repository.list_tags()
    repository.create_branch("forged", repository.lookup_tag(tag))
    session = repository.writable_session("forged")
    root = zarr.open_group(session.store, mode="r+")
    for name, change in changes.items():
        root[name][...] = change(root[name][...])
    told = root.attrs["manifest"]
    tell(told)
    root.attrs["manifest"], root.attrs["manifest_digest"] = told, json_digest(told)
    snapshot = session.commit("forged", metadata={"manifest": json.dumps(told)})
    repository.delete_tag(tag)
    repository.create_tag(f"{tag}@2", snapshot)
    return tag


def named_in(found, names):
    """Which of some beginnings none of the differences has: all are named where it is empty."""
    return [name for name in names if not any(one.startswith(f"{name} is ") for one in found)]


def test_a_run_is_verified_down_to_every_account(done, monkeypatch):
    """And not by what margins a run."""
    checks = verify_margin(done.store, "latest", sample=1_000, seed=1)
    assert differences(checks) == []
    monkeypatch.delattr("workers.verify.margined_again.margin_accounts")
    check = recompute(MarginedAgain(done.run), sample=1_000, seed=1)
    assert check.differences == []
    assert (
        check.checked
        == "60 of 60 drawn with seed 1; by the reference, from positions and the fitted market"
    )


def test_the_reference_finds_the_numbers_of_measures_charges_and_buffers(mixed_book, margin_of):
    run = margin_of(mixed_book, methodology="margincube-layered-2026-01").run
    check = recompute(MarginedAgain(run), sample=60, seed=1)
    assert "by the reference" in check.checked
    assert check.differences == []


@pytest.mark.slow
def test_rules_without_a_reference_say_so(mixed_book, margin_of):
    run = margin_of(mixed_book, methodology="paradex-pm-2026-01").run
    check = recompute(MarginedAgain(run), sample=20, seed=1)
    assert "by the kernels of a run, for there is no reference of: scan" in check.checked
    assert check.differences == []


def test_the_reference_reprices_as_the_cube_does(mixed_book, done):
    terms, market = terms_and_market_of(done.run, mixed_book)
    shocks = shocks_of(done.run.scenarios.load())
    tenor = VolatilityTenor()
    priced = reprice(terms, market, shocks, tenor)
    scale = np.abs(priced.pnl).max()
    np.testing.assert_allclose(priced.pnl, revalue(terms, market, shocks, tenor), rtol=1e-9,
                               atol=1e-12 * scale)  # fmt: skip
    np.testing.assert_allclose(priced.value, contract_value(terms, market), rtol=1e-12, atol=1e-9)


def test_a_damaged_chunk_is_named(copy):
    """Every chunk is below a checksum: wherever a bit flips, the array is named or not there."""
    chunks = sorted((copy / "repository" / "chunks").iterdir())
    path = random.Random(7).choice(chunks)
    raw = bytearray(path.read_bytes())
    path.write_bytes(bytes([*raw[:-1], raw[-1] ^ 1]))
    assert any("cannot be read" in one for one in found_in(RunStore(copy)))


@pytest.mark.parametrize("folder", ["chunks", "manifests"])
def test_whatever_is_damaged_ends_in_differences(copy, folder):
    """Labels and indices too, without which a group cannot be opened; a sample of all files."""
    files = sorted((copy / "repository" / folder).iterdir())
    for path in files[:: max(1, len(files) // 12)]:
        raw = path.read_bytes()
        path.write_bytes(bytes([*raw[:-1], raw[-1] ^ 1]))
        assert differences(checked_run(RunStore(copy), "latest", sizes_of)), path.name
        path.write_bytes(raw)
    assert differences(checked_run(RunStore(copy), "latest", sizes_of)) == []


def sizes_of(run):
    """What every verification asks of a run before its own checks."""
    return [Check("sizes", str([run.groups[group].sizes for group in run.groups]))]


def test_no_account_is_drawn(done):
    assert differences(verify_margin(done.store, "latest", sample=0, seed=1)) == []


def test_a_manifest_that_was_committed_otherwise_is_found(copy):
    """Lists of runs are made of the committed one, readers see the other."""
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(copy / "repository"))
    (tag,) = repository.list_tags()
    told = RunStore(copy).open().manifest
    totals = told["totals"] | {"requirement": 1.0}
    repository.create_branch("forged", repository.lookup_tag(tag))
    session = repository.writable_session("forged")
    zarr.open_group(session.store, mode="r+").attrs["note"] = "changed"
    snapshot = session.commit("x", metadata={"manifest": json.dumps(told | {"totals": totals})})
    repository.delete_tag(tag)
    repository.create_tag(f"{tag}@2", snapshot)
    assert RunStore(copy).manifests()[0]["totals"]["requirement"] == 1.0
    assert any("is not the one that was committed" in one for one in found_in(RunStore(copy)))


def test_a_group_without_a_digest_is_named(copy):
    def tell(manifest):
        manifest["digests"] = {}
        manifest["digest"] = text_digest()

    found = found_in(RunStore(copy), forge(copy, {}, tell))
    groups = ("cube", "accounts", "folds", "scenarios", "instruments", "market")
    assert found == [f"the manifest has no digest of {group}" for group in groups]


def test_a_surface_that_is_a_little_off_is_named(copy):
    """By far less than what tells how well it fits may be off on another machine."""
    changes = {
        "market/forward": lambda values: values * (1.0 + 1e-7),
        "market/parameters": lambda values: values * (1.0 + 1e-7),
    }
    assert not named_in(found_in(RunStore(copy), forge(copy, changes)), changes)


def test_an_amount_that_was_changed_is_named(copy):
    def more(values):
        values[0] += 0.01
        return values

    found = found_in(*rewritten(copy, "accounts", "equity", more))
    said = "\n".join(found)
    assert "accounts has digest" in said
    assert "1 accounts do not agree with themselves" in said
    assert "totals: equity is" in said
    assert "account acc-000: equity is stored as" in said


def test_a_forger_who_changes_the_digests_too_is_found_by_the_accounts(copy, done):
    """Equity and excess agree, the digest is what it should be: the account itself does not."""
    digests = done.run.manifest["digests"]
    told = {"digest": text_digest(*(f"{name}={digests[name]}" for name in sorted(digests)))}

    def more(values):
        values[:, 0] += 1.0
        return values

    store, name = rewritten(copy, "cube", "pnl", more, **told)
    found = found_in(store, name)
    assert any(one.startswith("instrument ") for one in found)
    assert any(one.startswith("cube/pnl of ") for one in found)


def test_scenarios_and_market_are_those_of_the_inputs(copy):
    changes = {
        "scenarios/price": lambda values: values * 1.5,
        "scenarios/label": lambda values: values[::-1],
    }
    assert not named_in(found_in(RunStore(copy), forge(copy, changes)), changes)


def test_a_changed_manifest_is_found(copy, done):
    totals = done.run.manifest["totals"] | {"requirement": 1.0}
    store, name = rewritten(copy, "accounts", "equity", lambda values: values, totals=totals)
    assert any(one.startswith("totals: requirement is 1.0") for one in found_in(store, name))


def test_every_array_of_a_block_and_of_the_market_is_made_again(copy):
    """Whoever redoes folds and digests is found by the block, and by what the inputs lead to."""
    half, more = (lambda values: 0.5 * values), (lambda values: values + 1)
    changes = {
        **dict.fromkeys(("blocks/system_loss", "blocks/uncovered_loss"), half),
        **dict.fromkeys(("blocks/accounts_under_water", "accounts/netting_sets"), more),
        "blocks/contribution": lambda values: np.roll(values, 1, axis=1),
        "accounts/binding_scenario": more,
        "accounts/collateral_value": lambda values: values - 1_000.0,
        "accounts/position_value": lambda values: values + 1_000.0,
        "instruments/lot_size": half,
        "instruments/value": half,
        "instruments/settlement": more,
        "market/forward": half,
        "market/rmse_volatility": half,
        "market/quotes": more,
        "accounts/layer": lambda values: values[::-1],
    }
    forge(copy, changes)
    assert named_in(found_in(RunStore(copy)), changes) == []


def test_what_the_manifest_says_is_made_again(copy, done):
    """Rules of another text, prices of coins, the day, sums that were struck out."""
    index = {coin: 1.5 * price for coin, price in done.run.manifest["index"].items()}

    def tell(manifest):
        manifest["inputs"]["methodology"]["text"] += "# no rule of it is another\n"
        manifest["inputs"]["methodology"]["title"] = "A venue's own"
        manifest["inputs"]["book"]["positions"] += 1
        manifest |= {"index": index, "as_of": "2025-01-01T00:00:00+00:00"}
        manifest["totals"]["left_out"] = 77
        del manifest["totals"]["requirement"]

    found = found_in(RunStore(copy), forge(copy, {}, tell))
    assert not named_in(found, [
        "inputs/methodology: digest", "inputs/methodology: title", "inputs/book: positions",
        "manifest: key", "manifest: run_id", "manifest: as_of", *(f"index: {c}" for c in index),
        "totals: left_out", "totals: requirement",
    ])  # fmt: skip
    assert any(one.startswith("inputs: they make run ") for one in found)
    # By the prices of the market all the rest is as it was.
    assert not any(one.startswith(("accounts", "blocks", "folds", "account ")) for one in found)


def test_no_totals_are_a_difference(copy, done):
    def tell(manifest):
        manifest["totals"] = {}

    found = found_in(RunStore(copy), forge(copy, {}, tell))
    assert not named_in(found, [f"totals: {name}" for name in done.run.manifest["totals"]])


@pytest.fixture(scope="module")
def pooled(synthetic_book, margin_of, claims_of, pool_of):
    book = synthetic_book(200)
    return pool_of(margin_of(book), claims_of(book))


def found_in_pool(store, pooled):
    return differences(verify_collateral(store, "latest", RunStore(pooled.request.runs)))


def test_every_group_of_a_collateral_run_is_made_again(pooled, tmp_path):
    assert found_in_pool(pooled.store, pooled) == []
    half, more = (lambda values: 0.5 * values), (lambda values: values + 1)
    changes = {
        "accounts/credit_then": half,
        "accounts/binding_scenario": more,
        "blocks/credit_by_token": half,
        "blocks/liquidatable": more,
        "totals/feed_oracle": half,
        "totals/asset_value": half,
        "tokens/unit_value": half,
        "tokens/kind": lambda values: values[::-1],
        "scenarios/pnl": half,
        "scenarios/title": lambda values: values[::-1],
        "findings/claim": more,
    }

    def tell(manifest):
        manifest["key"] = 64 * "f"
        manifest["inputs"]["rules"]["digest"] = 64 * "0"
        manifest["totals"]["misplaced"] = 9
        del manifest["totals"]["credit"]

    shutil.copytree(pooled.store.path, tmp_path / "pools")
    forge(tmp_path / "pools", changes, tell)
    found = found_in_pool(RunStore(tmp_path / "pools", pooled.store.kind), pooled)
    said = ("manifest: key", "inputs/rules: digest", "totals: misplaced", "totals: credit")
    assert not named_in(found, [*changes, *said])


@pytest.mark.slow
def test_a_collateral_run_is_verified(synthetic_book, margin_of, claims_of, pool_of, tmp_path):
    book = synthetic_book(2_000)
    pooled = pool_of(margin_of(book), claims_of(book))
    assert found_in_pool(pooled.store, pooled) == []
    shutil.copytree(pooled.store.path, tmp_path / "pools")
    chunks = (tmp_path / "pools" / "repository" / "chunks").iterdir()
    path = max(chunks, key=lambda file: file.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1])
    store = RunStore(tmp_path / "pools", pooled.store.kind)
    assert any("cannot be read" in one for one in found_in_pool(store, pooled))
