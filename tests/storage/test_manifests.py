"""Manifests that were damaged after they were written."""

import json

import icechunk
import pytest
import zarr

from flows.cli import EXIT_REFUSED, _exit_code
from storage.digest import json_digest
from storage.manifests import ManifestDamaged, stored_manifest
from storage.runs import RunStore
from tests.storage.small_runs import publish

WRITTEN = {"run_id": "r", "totals": {"margin": 0.1, "accounts": 3}, "why": None, "list": [1, "x"]}


@pytest.mark.parametrize("as_text", [False, True])
def test_any_change_of_a_manifest_is_found(as_text):
    kept = json.loads(json.dumps(WRITTEN))
    stored = {"manifest": json.dumps(WRITTEN) if as_text else WRITTEN}
    stored["manifest_digest"] = json_digest(WRITTEN)
    assert stored_manifest(stored, "here") == kept
    changed = {**kept, "totals": {"margin": 0.10000000000000002, "accounts": 3}}
    stored["manifest"] = json.dumps(changed) if as_text else changed
    with pytest.raises(ManifestDamaged, match=r"manifest of run 'r' in here has digest .{12}, and"):
        stored_manifest(stored, "here")


def test_a_store_does_not_read_a_damaged_manifest(tmp_path):
    store = RunStore(tmp_path / "runs")
    publish(store, "run-0", 0.0)
    repository = icechunk.Repository.open(
        icechunk.local_filesystem_storage(tmp_path / "runs" / "repository")
    )
    session = repository.writable_session("main")
    root = zarr.open_group(session.store, mode="r+")
    told = {**root.attrs["manifest"], "number": 1.0}
    root.attrs["manifest"] = told
    metadata = dict(next(iter(repository.ancestry(tag="run-0"))).metadata)
    snapshot = session.commit("damaged", metadata=metadata | {"manifest": json.dumps(told)})
    repository.create_tag("run-1", snapshot)
    for read in (store.open, store.published, lambda _: store.manifests()):
        with pytest.raises(ManifestDamaged) as caught:
            read("run-1")
        assert _exit_code(caught.value) == EXIT_REFUSED
    assert store.open("run-0").manifest["number"] == 0.0
