"""Documents of proofs: JSON from anybody, read within limits and never half."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from storage.json_text import require_shallow

LARGEST_DOCUMENT = 4 << 20
"""Bytes; a token's balance with its whole proof takes some 15 kB."""


class DocumentMalformed(ValueError):
    """A file that is no JSON, or JSON that can be read in two ways."""


class DocumentTooLarge(ValueError):
    """A file larger than any honest proof."""


def read_document(path: Path) -> Any:
    """Return the JSON value in a file.

    Raises:
        DocumentTooLarge: it has more than ``LARGEST_DOCUMENT`` bytes.
        DocumentMalformed: it is not UTF-8, not JSON, nested too deep, has a field twice or a number
            that JSON does not know.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_DOCUMENT + 1)
    if len(content) > LARGEST_DOCUMENT:
        raise DocumentTooLarge(f"{path.name} has more than {LARGEST_DOCUMENT:,} bytes")
    try:
        text = content.decode()
        require_shallow(text)
        return json.loads(text, object_pairs_hook=_each_field_once, parse_constant=_no_constant)
    except ValueError as error:
        raise DocumentMalformed(f"{path.name} is no JSON: {error}") from None


def proof_files(folder: Path) -> list[Path]:
    """Return the JSON files of a folder by name, the order in which verdicts are given.

    Raises:
        FileNotFoundError: there is none.
    """
    files = sorted(path for path in folder.glob("*.json") if path.is_file())
    if not files:
        raise FileNotFoundError(f"{folder} has no file *.json; give the folder of the holdings")
    return files


def _each_field_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the field {twice[:40]!r} is there twice")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
