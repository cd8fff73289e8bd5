"""Instrument terms: the declared table of instruments as arrays that risk reads."""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, Settlement

YEAR_SECONDS = 365 * 86_400
CASH = "USD"
"""The reporting currency: cash, not a coin."""

UNKNOWN = -1
"""The row of a coin that the market does not have."""


def instrument_terms(
    instruments: pa.Table, underlyings: Sequence[str], as_of: datetime
) -> Instruments:
    """Return the terms of instruments, in the rows of the table.

    ``underlyings`` are the coins of the market, in the order of its index prices. A coin that is
    not among them has row -1, and so has cash as a settlement currency. Time to expiry is in
    years of 365 days and zero once expired.

    Raises:
        ValueError: ``kind``, ``settlement`` or ``option_type`` holds a word that is not known.
    """
    kind = _codes(instruments, "kind", Kind)
    option_type = instruments["option_type"].combine_chunks()
    is_option = kind == Kind.OPTION
    words = set(pc.unique(option_type.filter(pa.array(is_option))).to_pylist())
    if not words <= {"call", "put"}:
        raise ValueError(
            f"ENUM_UNKNOWN: option_type holds {sorted(map(str, words))}; options are call or put"
        )
    dated = is_option | (kind == Kind.FUTURE)
    return Instruments(
        kind=kind,
        settlement=_codes(instruments, "settlement", Settlement),
        underlying=_rows(instruments, "underlying", underlyings),
        settlement_underlying=_rows(instruments, "settlement_currency", underlyings),
        multiplier=_numbers(instruments, "multiplier"),
        strike=np.where(is_option, _numbers(instruments, "strike"), 0.0),
        is_call=is_option
        & pc.fill_null(pc.equal(option_type, "call"), False).to_numpy(zero_copy_only=False),
        time_to_expiry=np.where(dated, years_to(instruments["expiry"], as_of), 0.0),
    )


def years_to(expiry: pa.ChunkedArray, as_of: datetime) -> NDArray[np.float64]:
    """Return years of 365 days from ``as_of`` to each instant, zero where null or past."""
    start = pa.scalar(as_of, expiry.type).cast(pa.int64()).as_py()
    instants = pc.fill_null(expiry.cast(pa.int64()), start).to_numpy()
    years: NDArray[np.float64] = np.maximum((instants - start) / (YEAR_SECONDS * 1e6), 0.0)
    return years


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.array(pc.fill_null(table[name], 0.0).to_numpy(), dtype=np.float64)


def _codes(table: pa.Table, name: str, words: type[IntEnum]) -> NDArray[np.int8]:
    encoded = table[name].combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    unknown = sorted(str(word) for word in found if str(word).upper() not in words.__members__)
    if unknown or encoded.null_count:
        allowed = [word.lower() for word in words.__members__]
        raise ValueError(f"ENUM_UNKNOWN: {name} holds {unknown or ['null']}; allowed are {allowed}")
    code = np.array([words[word.upper()] for word in found], dtype=np.int8)
    codes: NDArray[np.int8] = code[encoded.indices.to_numpy()]
    return codes


def _rows(table: pa.Table, name: str, underlyings: Sequence[str]) -> NDArray[np.int16]:
    encoded = table[name].combine_chunks().dictionary_encode()
    where = {coin: row for row, coin in enumerate(underlyings)}
    row = np.array(
        [where.get(coin, UNKNOWN) for coin in encoded.dictionary.to_pylist()], dtype=np.int16
    )
    rows: NDArray[np.int16] = row[encoded.indices.to_numpy()]
    return rows
