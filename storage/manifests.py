"""Manifests as they are stored, each with its digest: arrays have checksums of their own."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from storage.digest import json_digest

MANIFEST, DIGEST = "manifest", "manifest_digest"
"""The names they are stored by."""


REMEDY = (
    "restore runs from a backup, or take it away by margincube clean --damaged and run it again"
)


class ManifestDamaged(RuntimeError):
    """A stored manifest is not the one that was written, or cannot be read."""


def stored_manifest(found: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the manifest of what is stored: a table, or the JSON of one, beside its digest.

    Runs that were stored before manifests had digests are read as they are.

    Raises:
        ManifestDamaged: there is none, or it has another digest.

    >>> stored_manifest({"manifest": '{"a": 1}', "manifest_digest": json_digest({"a": 1})}, "r")
    {'a': 1}
    """
    try:
        stored = found[MANIFEST]
        manifest: dict[str, Any] = json.loads(stored) if isinstance(stored, str) else dict(stored)
    except (KeyError, TypeError, ValueError) as fault:
        raise ManifestDamaged(f"the manifest of a run in {where} is damaged; {REMEDY}") from fault
    written = found.get(DIGEST)
    if written is not None and json_digest(manifest) != written:
        raise ManifestDamaged(
            f"the manifest of run {manifest.get('run_id')!r} in {where} has digest "
            f"{json_digest(manifest)[:12]}, and was written with {str(written)[:12]}: the file "
            f"is damaged; {REMEDY}"
        )
    return manifest


def latest_of(manifests: Sequence[Mapping[str, Any]]) -> str:
    """Return which of some runs, newest first, is meant by ``latest``."""
    # A run that nets all accounts alike answers a question; it is not what they owe.
    real = [one for one in manifests if one.get("settings", {}).get("netting") in (None, "None")]
    return str((real or manifests)[0]["run_id"])
