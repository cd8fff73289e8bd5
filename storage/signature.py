"""Signatures of run manifests: a published number can be shown to be of who holds a key.

A manifest names the digest of every group of arrays, so its signature covers the numbers too. The
key is Ed25519 (RFC 8032), in the PEM forms of RFC 8410 that any other tool reads.
"""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

    from storage.runs import RunStore

CONTEXT = b"margincube run manifest, version 1\n"
"""What is signed before the manifest, so that a signature is never taken for one of other bytes."""


class KeyUnusable(ValueError):
    """A file is no Ed25519 key, or a private one that others may read."""


class RunUnsigned(RuntimeError):
    """A run carries no signature."""


class SignatureRefused(RuntimeError):
    """A run's manifest is not what the key has signed."""


@dataclass(frozen=True, slots=True)
class Published:
    """The manifest of a run, as readers see it and as it was committed, and its signature."""

    run_id: str
    manifest: dict[str, Any]
    committed: dict[str, Any]
    signature: dict[str, str] | None


class Signer:
    """A private key, read once from its file; it is never printed, pickled or stored elsewhere."""

    def __init__(self, path: Path) -> None:
        self._key = _private_key(path)
        self.fingerprint = _fingerprint(self._key.public_key())

    def sign(self, manifest: Mapping[str, Any]) -> dict[str, str]:
        """Return the signature of a manifest, with what is needed to check it."""
        signature = self._key.sign(canonical_bytes(manifest))
        return {
            "algorithm": "Ed25519",
            "key": self.fingerprint,
            "signature": base64.b64encode(signature).decode(),
        }

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a private key does not travel to another process")


def canonical_bytes(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest that are signed: JSON with sorted keys and no spaces.

    >>> canonical_bytes({"b": 1.5, "a": None}).splitlines()[1]
    b'{"a":null,"b":1.5}'
    """
    plain = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return CONTEXT + plain.encode()


def new_key(path: Path) -> tuple[Path, str]:
    """Write a new private key, which its owner alone may read, and its public half beside it.

    Returns the path of the public half, ``PATH.pub``, and its fingerprint.

    Raises:
        FileExistsError: one of the two files is there; a key is never written over.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    public_path = path.with_name(f"{path.name}.pub")
    for one in (path, public_path):
        if one.exists():
            raise FileExistsError(f"{one} is there already; give the path of a new key")
    path.parent.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for one, content, mode in ((path, private, 0o600), (public_path, public, 0o644)):
        with os.fdopen(os.open(one, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    return public_path, _fingerprint(key.public_key())


def verify_signature(store: "RunStore", run: str, public_key: Path) -> Published:
    """Return a published run whose manifest a key has signed.

    That arrays are what the manifest's digests say is another check: it reads them all.

    Raises:
        KeyUnusable: the file is no public Ed25519 key.
        RunUnsigned: the run carries no signature.
        SignatureRefused: the manifest is not what the key has signed, or is another run's.
        UnknownRun: no run of that name has been published.
    """
    from cryptography.exceptions import InvalidSignature

    key = _public_key(public_key)
    found = store.published(run)
    if found.signature is None:
        raise RunUnsigned(
            f"run {found.run_id} carries no signature: it was published without a signing key, "
            "or its signature was removed"
        )
    if found.manifest != found.committed:
        raise SignatureRefused(
            f"run {found.run_id}: the manifest that readers see is not the one that was committed"
        )
    if found.manifest.get("run_id") != found.run_id:
        raise SignatureRefused(
            f"run {found.run_id}: its manifest is that of run {found.manifest.get('run_id')!r}"
        )
    try:
        signature = base64.b64decode(found.signature["signature"], validate=True)
        key.verify(signature, canonical_bytes(found.manifest))
    except (InvalidSignature, KeyError, ValueError):
        raise SignatureRefused(
            f"run {found.run_id}: its manifest is not what the key {_fingerprint(key)} has signed "
            f"(the run says {found.signature.get('key')}); it was changed since, or another key "
            "has signed it"
        ) from None
    return found


def _fingerprint(key: "Ed25519PublicKey") -> str:
    """Return the first half of the SHA-256 of the raw public key, in hexadecimal."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def _private_key(path: Path) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not path.is_file():
        raise KeyUnusable(f"no signing key at {path}; make one with `margincube keys new PATH`")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyUnusable(
            f"signing key {path} has mode {mode:o}, others may read it; allowed is its owner "
            f"alone: chmod 600 {path}, and make a new one if somebody may have"
        )
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # What the reader says of it may hold parts of the key.
        raise KeyUnusable(
            f"{path} is no private key in PEM without a password; make one with "
            "`margincube keys new PATH`"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} is a key of another kind; allowed is Ed25519")
    return key


def _public_key(path: Path) -> "Ed25519PublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if not path.is_file():
        raise KeyUnusable(f"no public key at {path}; give the file that ends in .pub")
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable(
            f"{path} is no public key in PEM; give the file that ends in .pub"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable(f"{path} is a key of another kind; allowed is Ed25519")
    return key
