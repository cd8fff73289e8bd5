"""Names of sixteen bytes as hexadecimal text, read for millions of rows at once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage import tables
from storage.intake.cells import Booleans, matches

_HEX = r"^(0x)?[0-9a-fA-F]{32}$"
_DIGITS = 32


def identities(cells: pa.StringArray) -> tuple[NDArray[np.uint8], Booleans]:
    """Return cells as bytes ``(row, 16)``, and which of them could not be read.

    A blank cell is sixteen zeros.

    >>> import pyarrow as pa
    >>> found, bad = identities(pa.array(["0x" + "0f" * 16, "", "0x1"]))
    >>> found[:, 0].tolist(), bad.tolist()
    ([15, 0, 0], [False, False, True])
    """
    blank = np.asarray(pc.equal(cells, "").to_numpy(zero_copy_only=False))
    good = matches(cells, _HEX)
    zeros = "0" * _DIGITS
    plain = pc.if_else(pa.array(good), cells, zeros)
    digits = pc.utf8_slice_codeunits(plain, -_DIGITS)
    # Text of one length lies end to end, so one call reads all of it.
    text = "".join(digits.to_pylist())
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 16), ~good & ~blank


def identity_array(content: NDArray[np.uint8]) -> pa.Array:
    """Return bytes ``(row, 16)`` as a column of identities."""
    buffer = pa.py_buffer(np.ascontiguousarray(content))
    return pa.Array.from_buffers(tables.IDENTITY, len(content), [None, buffer])


def none_of(content: NDArray[np.uint8]) -> Booleans:
    """Return which rows of bytes ``(row, 16)`` are all zero."""
    return np.asarray(~content.any(axis=1))
