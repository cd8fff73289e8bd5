"""Digests: one short name for the exact content of files, texts and tables."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(*parts: str) -> str:
    """Return the SHA-256 of texts, each preceded by its length so that none can run into another.

    >>> text_digest("ab", "c") == text_digest("a", "bc")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(f"{len(encoded)}:".encode())
        digest.update(encoded)
    return digest.hexdigest()


def json_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a table that JSON can hold, whatever the order of its keys.

    >>> json_digest({"b": 1.5, "a": None}) == json_digest({"a": None, "b": 1.5})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
