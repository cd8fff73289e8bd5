"""Signed manifests: what the holder of a key published, and nothing else."""

import base64
import json
import os
import pickle
import shutil
import subprocess

import icechunk
import pytest
import zarr
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from storage.digest import json_digest
from storage.runs import RunStore
from storage.signature import (
    KeyUnusable,
    RunUnsigned,
    SignatureRefused,
    Signer,
    canonical_bytes,
    new_key,
    verify_signature,
)
from workers.engine import SerialEngine
from workers.margin_run import MarginRun
from workers.plan import RunRequest


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    new_key(path)
    return path


def public(key):
    return key.with_name(f"{key.name}.pub")


@pytest.fixture(scope="module")
def signed(mixed_book, small_methodology, key, tmp_path_factory):
    """The folder of a signed run, and its name."""
    folder = tmp_path_factory.mktemp("signed") / "runs"
    request = RunRequest(mixed_book.path, methodology=str(small_methodology), runs=folder)
    engine = SerialEngine()
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        run.prepare()
        run.price()
        run.margin()
        run.fold()
        run.publish(signer=Signer(key))
    return folder, run.run_id


@pytest.fixture
def changed(signed, tmp_path):
    """Return a function that writes a copy of the run anew, with other attributes of its root."""
    folder, run_id = signed
    copy = shutil.copytree(folder, tmp_path / "runs")

    def change(committed=None, name=run_id, **attributes):
        storage = icechunk.local_filesystem_storage(str(copy / "repository"))
        repository = icechunk.Repository.open(storage)
        before = next(iter(repository.ancestry(tag=run_id)))
        repository.create_branch(f"{name}-forged", before.id)
        session = repository.writable_session(f"{name}-forged")
        root = zarr.open_group(session.store, mode="r+")
        root.attrs["made"] = "by a forger"
        for attribute, value in attributes.items():
            if value is None:
                del root.attrs[attribute]
            else:
                root.attrs[attribute] = value
                if attribute == "manifest":
                    root.attrs["manifest_digest"] = json_digest(value)
        metadata = dict(before.metadata) if committed is None else {"manifest": committed}
        snapshot = session.commit("forged", metadata=metadata)
        # A tag is never given twice, so what is forged has a name of its own.
        repository.create_tag(f"{name}-forged", snapshot)
        return RunStore(copy), f"{name}-forged"

    return change


# RFC 8032, section 7.1, TEST 2: seed, public key, message, signature.
RFC = (
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
)


def test_the_library_signs_as_the_standard_does():
    seed, point, message, signature = map(bytes.fromhex, RFC)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert key.public_key().public_bytes_raw() == point
    assert key.sign(message) == signature


def test_a_signed_run_is_shown_to_be_of_the_key(signed, key):
    folder, run_id = signed
    found = verify_signature(RunStore(folder), "latest", public(key))
    assert found.run_id == run_id
    assert found.signature["key"] == Signer(key).fingerprint
    assert found.manifest["digest"] == RunStore(folder).open().manifest["digest"]


def test_another_tool_finds_the_signature_too(signed, key, tmp_path):
    """OpenSSL, which has nothing of ours, where it is there and knows Ed25519."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    found = RunStore(signed[0]).published("latest")
    (tmp_path / "bytes").write_bytes(canonical_bytes(found.manifest))
    (tmp_path / "signature").write_bytes(base64.b64decode(found.signature["signature"]))
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(public(key))]
    command += ["-sigfile", str(tmp_path / "signature"), "-in", str(tmp_path / "bytes")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Verified Successfully" in done.stdout, done.stderr


def test_another_key_is_refused(signed, tmp_path):
    other, _ = new_key(tmp_path / "other.pem")
    with pytest.raises(SignatureRefused, match="another key"):
        verify_signature(RunStore(signed[0]), "latest", other)


def test_a_manifest_that_was_changed_is_refused(changed, signed, key):
    manifest = RunStore(signed[0]).published("latest").manifest
    forged = manifest | {"totals": manifest["totals"] | {"requirement": 1.0}}
    forged["run_id"] = f"{manifest['run_id']}-forged"
    store, name = changed(manifest=forged)
    with pytest.raises(SignatureRefused, match="not the one that was committed"):
        verify_signature(store, name, public(key))
    forged["run_id"] = "twice-forged"
    store, name = changed(json.dumps(forged), "twice", manifest=forged)
    with pytest.raises(SignatureRefused, match="changed since, or another key"):
        verify_signature(store, name, public(key))


def test_a_signed_manifest_under_another_name_is_refused(changed, key):
    store, name = changed()
    with pytest.raises(SignatureRefused, match="its manifest is that of run"):
        verify_signature(store, name, public(key))


def test_a_run_without_a_signature_says_so(margin_of, mixed_book, changed, key):
    with pytest.raises(RunUnsigned, match="carries no signature"):
        verify_signature(margin_of(mixed_book).store, "latest", public(key))
    store, name = changed(signature=None)
    with pytest.raises(RunUnsigned, match="or its signature was removed"):
        verify_signature(store, name, public(key))


@pytest.mark.parametrize("signature", [{}, {"signature": "no base 64"}, {"signature": "AAAA"}])
def test_a_signature_that_is_none_is_refused(changed, signed, key, signature):
    manifest = RunStore(signed[0]).published("latest").manifest
    manifest["run_id"] += "-forged"
    store, name = changed(json.dumps(manifest), manifest=manifest, signature=signature)
    with pytest.raises(SignatureRefused):
        verify_signature(store, name, public(key))


def test_a_key_is_its_owner_s_alone_and_is_never_written_over(tmp_path):
    path = tmp_path / "keys" / "signing.pem"
    old = os.umask(0)
    try:
        new_key(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        new_key(path)
    assert path.read_bytes() == before
    path.chmod(0o640)
    with pytest.raises(KeyUnusable, match="mode 640, others may read it"):
        Signer(path)


def test_a_key_does_not_travel(key):
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(Signer(key))
    assert "PRIVATE" not in repr(Signer(key))


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff" * 40])
def test_what_is_no_key_is_a_sentence_that_does_not_repeat_it(content, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyUnusable, match="no private key"):
        Signer(path)
    path.chmod(0o644)
    with pytest.raises(KeyUnusable, match="no public key"):
        verify_signature(None, "latest", path)


def test_a_key_of_another_kind_is_refused(tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    path = tmp_path / "key"
    key = generate_private_key(SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(KeyUnusable, match="another kind"):
        Signer(path)


def test_a_public_key_cannot_sign(key):
    with pytest.raises(KeyUnusable):
        Signer(public(key))
