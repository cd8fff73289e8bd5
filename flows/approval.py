"""What pages and the terminal say of a run whose model is not approved."""

from collections.abc import Mapping
from typing import Any


def not_approved(manifest: Mapping[str, Any]) -> list[str]:
    """Return why the model of a run is not approved, line by line; nothing where it is.

    >>> not_approved({"approval": {"missing": ["mine 1: it has no [approval]"]}})
    ['mine 1: it has no [approval]']
    """
    # A run of an earlier version says nothing of it.
    return list(manifest.get("approval", {}).get("missing", []))


def override_words(manifest: Mapping[str, Any]) -> str:
    """Return that a model is not approved, and why it was run all the same, in a sentence."""
    reason = manifest.get("reason")
    return "Model not approved. " + (f"Run all the same: {reason}" if reason else "No reason given")


def banner(manifest: Mapping[str, Any]) -> list[str]:
    """Return the head of a banner and its reasons; nothing where the model is approved."""
    missing = not_approved(manifest)
    return [override_words(manifest), *missing] if missing else []
