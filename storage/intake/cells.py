"""What a cell means: text, numbers, exact decimals and instants, read column by column.

Nothing here raises on bad content. A reader returns its values together with a status per row,
and the checks turn statuses into findings.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Booleans: TypeAlias = NDArray[np.bool_]

EXACT_SCALE = 18  # decimals of a quantity that are read without loss
_WHOLE_LENGTH = 20  # sign, digits and point before the decimals, within 38 digits in all
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)$"
_SCIENTIFIC = r"^[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d{1,3}$"
_SHRINKING = r"^[+-]?(\d+\.?\d*|\.\d+)[eE]-\d{1,3}$"
_LOCAL = r"^\(?[+-]?\d*([.,'’_\x{00a0}\x{202f} ]\d+)+\)?[+-]?$|^\(\d+\)$|^\d+-$"
_NAN = r"^(?i)[+-]?(nan|n/?a|null|none)$"
_INFINITE = r"^(?i)[+-]?inf(inity)?$"
_ZONED = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)$"
_NAIVE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d*)?)?)?$"
_NOT_ISO_YEAR = r"^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$|^[+-]?\d{5,}-\d{2}"
_UNCLEAN = (
    r"^[=+\-@]|^\s|\s$|[\x00-\x1f\x7f-\x{009f}\x{200b}-\x{200f}"
    r"\x{2028}-\x{202e}\x{2060}\x{feff}\x{fffd}]"
)

_FIRST_INSTANT = int(datetime(2009, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_LAST_INSTANT = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


class Status(IntEnum):
    """How a cell was read."""

    GOOD = 0
    BLANK = 1
    LOCAL_FORMAT = 2
    INVALID = 3
    NOT_A_NUMBER = 4
    INFINITE = 5
    NO_ZONE = 6
    WRONG_UNIT = 7


@dataclass(frozen=True, slots=True)
class Numbers:
    """Cells read as float64; a row that is not good holds NaN, or the infinity that was seen."""

    values: NDArray[np.float64]
    status: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Exact:
    """Cells read as whole numbers of ``10**-scale``.

    A number that does not fit in 64 bits is in ``large`` by its row, as a pair of a Python
    integer and its own scale, and zero in ``unscaled``.
    """

    unscaled: NDArray[np.int64]
    scale: int
    large: dict[int, tuple[int, int]]
    status: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Instants:
    """Cells read as microseconds since 1970 in UTC; zero where a row is not good."""

    microseconds: NDArray[np.int64]
    status: NDArray[np.int8]


def text(cells: pa.Array) -> tuple[pa.StringArray, Booleans]:
    r"""Return cells as text without nulls, and which of them were not UTF-8.

    >>> import pyarrow as pa
    >>> text(pa.array([b"a", None, b"\xff"]))[0].to_pylist()
    ['a', '', '\\xff']
    """
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    cells = pc.fill_null(cells.cast(pa.binary()), b"")
    nothing = np.zeros(len(cells), np.bool_)
    try:
        return cells.cast(pa.string()), nothing
    except pa.ArrowInvalid:
        return _mended(cells)


def _mended(cells: pa.BinaryArray) -> tuple[pa.StringArray, Booleans]:
    """Replace what is not UTF-8 by escapes; only rows with bytes beyond ASCII are looked at."""
    offsets = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset :][: len(cells) + 1]
    content = np.frombuffer(cells.buffers()[2], np.uint8)[: offsets[-1]]
    beyond = offsets[0] + np.flatnonzero(content[offsets[0] :] >= 0x80)
    suspects = np.unique(np.searchsorted(offsets, beyond, side="right") - 1)
    bad = np.zeros(len(cells), np.bool_)
    replacement: list[bytes] = []
    for row in suspects.tolist():
        cell = cells[row].as_py()
        shown = cell.decode("utf-8", errors="backslashreplace").encode()
        if shown != cell:
            bad[row] = True
            replacement.append(shown)
    mended = pc.replace_with_mask(cells, pa.array(bad), pa.array(replacement, pa.binary()))
    return mended.cast(pa.string()), bad


def unclean(names: pa.StringArray) -> Booleans:
    """Return which names hold control or invisible characters, outer space, or begin a formula."""
    return matches(names, _UNCLEAN)


def matches(cells: pa.StringArray, pattern: str) -> Booleans:
    """Return which cells match a regular expression."""
    return np.asarray(pc.match_substring_regex(cells, pattern).to_numpy(zero_copy_only=False))


def folded(names: pa.Array) -> pa.Array:
    """Return names in the form in which spellings of the same name are equal.

    >>> import pyarrow as pa
    >>> folded(pa.array([" Alice", "ALICE", "ｱﾘｽ"])).to_pylist()
    ['alice', 'alice', 'アリス']
    """
    composed = pc.utf8_trim_whitespace(pc.utf8_normalize(names, form="NFKC"))
    return pc.utf8_normalize(pc.utf8_lower(pc.utf8_upper(composed)), form="NFKC")


def numbers(cells: pa.StringArray) -> Numbers:
    """Read cells as float64.

    >>> import pyarrow as pa
    >>> read = numbers(pa.array(["1.5", "", "1,5", "nan", "abc"]))
    >>> [Status(code).name for code in read.status]
    ['GOOD', 'BLANK', 'LOCAL_FORMAT', 'NOT_A_NUMBER', 'INVALID']
    """
    cells, status = _number_status(cells, _SCIENTIFIC)
    good = status == Status.GOOD
    readable = cells if good.all() else pc.if_else(pa.array(good), cells, "0")
    values = np.array(readable.cast(pa.float64()))
    status[good & ~np.isfinite(values)] = Status.INFINITE
    infinite = status == Status.INFINITE
    if infinite.any():
        negative = np.asarray(pc.starts_with(cells, "-").to_numpy(zero_copy_only=False))
        values[infinite] = np.where(negative[infinite], -np.inf, np.inf)
    values[(status != Status.GOOD) & ~infinite] = np.nan
    return Numbers(values, status)


def exact(cells: pa.StringArray) -> Exact:
    """Read cells as exact decimals; an exponent may only make a number smaller.

    >>> import pyarrow as pa
    >>> read = exact(pa.array(["1.50", "-9007199254740993", "123456789012345678901"]))
    >>> read.unscaled.tolist(), read.scale, read.large
    ([150, -900719925474099300, 0], 2, {2: (123456789012345678901, 0)})
    """
    cells, status = _number_status(cells, _SHRINKING)
    good = status == Status.GOOD
    count = len(cells)
    point = pc.find_substring(cells, ".").to_numpy(zero_copy_only=False)
    length = pc.utf8_length(cells).to_numpy(zero_copy_only=False)
    decimals = np.where(point < 0, 0, length - point - 1)
    long = good & ((decimals > EXACT_SCALE) | (length - decimals > _WHOLE_LENGTH))
    if not good.all():
        long |= good & ~matches(cells, _PLAIN)
    elif matches(cells, r"[eE]").any():
        long |= matches(cells, r"[eE]")
    plain = good & ~long
    scale = int(decimals[plain].max(initial=0))
    readable = cells if plain.all() else pc.if_else(pa.array(plain), cells, "0")
    wide = readable.cast(pa.decimal128(38, scale))
    halves = np.frombuffer(wide.buffers()[1], np.int64).reshape(-1, 2)[wide.offset :][:count]
    low, high = halves[:, 0], halves[:, 1]
    fits = high == low >> 63
    large = {
        row: ((int(high[row]) << 64) | (int(low[row]) & (1 << 64) - 1), scale)
        for row in np.flatnonzero(~fits).tolist()
    }
    large |= {row: _decimal(cells[row].as_py()) for row in np.flatnonzero(long).tolist()}
    return Exact(np.where(fits, low, 0), scale, large, status)


def _decimal(cell: str) -> tuple[int, int]:
    """Return a decimal number as a whole number and its scale, without trailing zeros."""
    sign, digits, exponent = Decimal(cell).as_tuple()
    value = int("".join(map(str, digits)))
    places = -int(exponent)
    while places > 0 and value % 10 == 0 and value:
        value //= 10
        places -= 1
    if value == 0:
        return 0, 0
    return (-value if sign else value) * 10 ** max(0, -places), max(0, places)


def _number_status(cells: pa.StringArray, scientific: str) -> tuple[pa.Array, NDArray[np.int8]]:
    """Return cells as they will be read, and the status of each as far as its form tells."""
    status = np.zeros(len(cells), np.int8)
    if matches(cells, _PLAIN).all():
        return cells, status
    cells = pc.utf8_trim_whitespace(cells)
    status[:] = Status.INVALID
    for code, pattern in (
        (Status.LOCAL_FORMAT, _LOCAL),
        (Status.LOCAL_FORMAT, _SCIENTIFIC),
        (Status.GOOD, scientific),
        (Status.GOOD, _PLAIN),
        (Status.BLANK, r"^$"),
        (Status.NOT_A_NUMBER, _NAN),
        (Status.INFINITE, _INFINITE),
    ):
        status[matches(cells, pattern)] = code
    return cells, status


def instants(cells: pa.Array) -> Instants:
    """Read text with a zone, or timestamps, as instants between 2009 and 2100.

    >>> import pyarrow as pa
    >>> read = instants(pa.array(["2024-03-29T08:00:00Z", "2024-03-29", "1711699200"]))
    >>> [Status(code).name for code in read.status]
    ['GOOD', 'NO_ZONE', 'WRONG_UNIT']
    """
    if pa.types.is_timestamp(cells.type):
        status = np.where(pc.is_null(cells).to_numpy(zero_copy_only=False), Status.BLANK, 0)
        values = _microseconds(cells)
    else:
        status = np.full(len(cells), Status.INVALID)
        for code, pattern in (
            (Status.BLANK, r"^\s*$"),
            (Status.NO_ZONE, _NAIVE),
            (Status.WRONG_UNIT, _NOT_ISO_YEAR),
            (Status.GOOD, _ZONED),
        ):
            status[matches(cells, pattern)] = code
        values, unreadable = _zoned(cells, status == Status.GOOD)
        status[unreadable] = Status.INVALID
    outside = (values < _FIRST_INSTANT) | (values >= _LAST_INSTANT)
    status[(status == Status.GOOD) & outside] = Status.WRONG_UNIT
    values[status != Status.GOOD] = 0
    return Instants(values, status.astype(np.int8))


def _microseconds(cells: pa.Array) -> NDArray[np.int64]:
    ticks = np.array(pc.fill_null(cells.cast(pa.int64()), 0))
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[cells.type.unit]
    if per_second > 10**6:
        return np.asarray(ticks // (per_second // 10**6))
    factor = 10**6 // per_second
    limit = np.iinfo(np.int64).max // factor
    return np.asarray(np.clip(ticks, -limit, limit) * factor)


def _zoned(cells: pa.StringArray, good: Booleans) -> tuple[NDArray[np.int64], Booleans]:
    unreadable = np.zeros(len(cells), np.bool_)
    readable = cells if good.all() else pc.if_else(pa.array(good), cells, "2009-01-01T00:00:00Z")
    try:
        return np.array(readable.cast(pa.timestamp("us", "UTC")).cast(pa.int64())), unreadable
    except pa.ArrowInvalid:
        encoded = readable.dictionary_encode()
        each = [_instant(cell) for cell in encoded.dictionary.to_pylist()]
        known = np.array([0 if value is None else value for value in each], np.int64)
        absent = np.array([value is None for value in each], np.bool_)
        index = np.asarray(encoded.indices)
        return known[index], absent[index]


def _instant(cell: str) -> int | None:
    """Return the microseconds of one instant, or None when there is no such day or hour."""
    try:
        since = datetime.fromisoformat(cell) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def wall_clock(cell: str) -> datetime | None:
    """Return what a clock beside the writer showed, taken as if it were UTC."""
    try:
        return datetime.fromisoformat(cell).replace(tzinfo=UTC)
    except ValueError:
        return None
