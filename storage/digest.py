"""Digests: one short name for the exact content of files and arrays."""

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr


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


def dataset_digest(dataset: xr.Dataset, *, rows: int = 65_536) -> str:
    """Return the SHA-256 of every variable's values, whatever the chunks they are stored in.

    >>> import xarray as xr
    >>> one = xr.Dataset({"x": ("a", [1.0, 2.0, 3.0])})
    >>> dataset_digest(one) == dataset_digest(one, rows=2)
    True
    """
    digest = hashlib.sha256()
    for name in sorted(str(name) for name in dataset.variables):
        variable = dataset[name]
        # Text is text, in whichever of three ways numpy holds it.
        kind = "text" if variable.dtype.kind in "OTU" else variable.dtype
        digest.update(f"{name}{variable.dims}{variable.shape}{kind}".encode())
        length = variable.shape[0] if variable.ndim else 0
        starts = range(0, length, rows) if variable.ndim else [None]
        for start in starts:
            part = variable if start is None else variable[start : start + rows]
            values = part.values
            if values.dtype.kind in "OTU":
                digest.update(text_digest(*map(str, values.ravel().tolist())).encode())
            else:
                digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
