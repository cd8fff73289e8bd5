"""Digests of arrays: one short name for their exact values, whatever chunks they are stored in."""

import hashlib
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

DIGEST_ROWS = 4_096
"""Rows that are hashed together."""

READ_ROWS = 16 * DIGEST_ROWS
"""Rows of a stored array that are read together to be hashed."""


def run_digests(values: NDArray[np.generic]) -> bytes:
    """Return the SHA-256 of each run of ``DIGEST_ROWS`` rows, one after the other.

    Those of two runs of whole rows follow each other as the runs do.

    >>> import numpy as np
    >>> rows = np.arange(2 * DIGEST_ROWS)
    >>> parts = [run_digests(half) for half in np.split(rows, 2)]
    >>> run_digests(rows) == parts[0] + parts[1]
    True
    """
    digests = []
    for start in range(0, len(values), DIGEST_ROWS):
        part = values[start : start + DIGEST_ROWS]
        if part.dtype.kind == "M":
            part = part.astype("datetime64[s]").view(np.int64)
        if part.dtype.kind in "OTU":
            digests.append(hashlib.sha256("\0".join(map(_framed, part.ravel().tolist())).encode()))
        else:
            digests.append(hashlib.sha256(np.ascontiguousarray(part).data))
    return b"".join(digest.digest() for digest in digests)


def _framed(text: object) -> str:
    return f"{len(str(text))}:{text}"


ALIKE = {"M": "instant", **dict.fromkeys("OTU", "text")}
"""Kinds of numpy that a store may give back as another of the same."""


def dataset_digest(dataset: xr.Dataset, known: Mapping[str, bytes] | None = None) -> str:
    """Return the SHA-256 of every variable's values, whatever the chunks they are stored in.

    ``known`` holds the ``run_digests`` of variables that somebody has read already.

    >>> import xarray as xr
    >>> one = xr.Dataset({"x": ("a", [1.0, 2.0, 3.0])})
    >>> dataset_digest(one) == dataset_digest(one, {"x": run_digests(one["x"].values)})
    True
    """
    known = known or {}
    digest = hashlib.sha256()
    for name in sorted(str(name) for name in dataset.variables):
        variable = dataset[name]
        # Text is text, in whichever of three ways numpy holds it, and an instant in any unit; where
        # there is nothing, a store does not tell of what.
        kind = ALIKE.get(variable.dtype.kind, str(variable.dtype)) if variable.size else "text"
        digest.update(f"{name}{variable.dims}{variable.shape}{kind}".encode())
        if name in known:
            digest.update(known[name])
        elif variable.ndim == 0:
            digest.update(run_digests(variable.values.reshape(1)))
        else:
            for start in range(0, variable.shape[0], READ_ROWS):
                digest.update(run_digests(variable[start : start + READ_ROWS].values))
    return digest.hexdigest()
