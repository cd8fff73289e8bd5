"""Instruments from outside: terms that fit together, and lots that are exact."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage import tables
from storage.book import canonical_instruments
from storage.intake import cells, checks, layout
from storage.intake.cells import EXACT_SCALE, Booleans
from storage.intake.checks import Check, Rows
from storage.intake.lots import LOT_LIMIT
from storage.intake.references import CASH, Lookup, Terms, index_of, listed, rows_of


@dataclass(frozen=True, slots=True)
class InstrumentIntake:
    """Accepted instruments in canonical order, and what positions need to know of all of them."""

    table: pa.Table
    lookup: Lookup
    lot: list[tuple[int, int]]  # of every name: a whole number and its scale
    is_spot: Booleans
    strings: pa.Array  # names by lookup index, for messages


def take_instruments(rows: Rows, reference: Rows | None, terms: Terms) -> InstrumentIntake:
    """Check instruments and return those accepted, in canonical order.

    Raises:
        DatasetRefused: a dataset read so far, this one or another, is refused.
    """
    checks.refuse_spellings(rows, "instrument")
    checks.refuse_duplicates(rows, rows.text["instrument"], "instrument")
    checks.apply(_instrument_checks(rows, terms), rows)
    if reference is not None:
        _check_reference(rows, reference)
    rows.findings.raise_if_refused()
    good = rows.good()
    columns = {}
    for column in tables.INSTRUMENTS.columns:
        name = column.name
        if name == "expiry":
            values = pa.array(rows.instant(name), mask=~rows.has(name)).cast(tables.TIMESTAMP)
        elif name == "lot_size":
            exact = rows.exact[name]
            values = pa.array(
                [_fraction(exact, row) for row in range(len(rows))], type=pa.float64()
            )
        elif name in rows.numbers:
            values = pa.array(rows.number(name), mask=~rows.has(name))
        else:
            values = rows.text[name]
            if column.nullable:
                values = pc.if_else(pc.equal(values, ""), None, values)
        columns[name] = values.take(pa.array(good))
    table = canonical_instruments(pa.table(columns, schema=tables.INSTRUMENTS.schema))
    names = rows.text["instrument"]
    return InstrumentIntake(
        table=table,
        lookup=Lookup(names, rows_of(names, table["instrument"].combine_chunks(), rows.bad)),
        lot=[_scaled(rows.exact["lot_size"], row) for row in range(len(rows))],
        is_spot=rows.is_in("kind", "spot"),
        strings=names,
    )


def _scaled(exact: cells.Exact, row: int) -> tuple[int, int]:
    return exact.large.get(row, (int(exact.unscaled[row]), exact.scale))


def _fraction(exact: cells.Exact, row: int) -> float:
    value, scale = _scaled(exact, row)
    return float(value / 10**scale)


def _instrument_checks(rows: Rows, terms: Terms) -> list[Check]:
    option = rows.is_in("kind", "option")
    dated = option | rows.is_in("kind", "future")
    spot = rows.is_in("kind", "spot")
    linear, inverse, quanto = (rows.is_in("settlement", word) for word in layout.SETTLEMENTS)
    underlying, currency = rows.text["underlying"], rows.text["settlement_currency"]
    pays_underlying = np.asarray(pc.equal(underlying, currency).to_numpy(zero_copy_only=False))
    pays_cash = rows.is_in("settlement_currency", CASH)
    contradicts = (
        (linear & pays_underlying & ~spot)
        | (inverse & ~pays_underlying)
        | (quanto & (pays_underlying | pays_cash))
        | (spot & ~linear)
    ) & rows.has("settlement_currency")
    known = terms.known or frozenset(underlying.to_pylist()) - {""}
    seconds = rows.instant("expiry")
    has_expiry = rows.has("expiry")
    expired = has_expiry & (seconds < terms.microseconds)
    lot = [_scaled(rows.exact["lot_size"], row) for row in range(len(rows))]
    lot_wrong = np.array(
        [not 0 < size < LOT_LIMIT * 10**scale or scale > EXACT_SCALE for size, scale in lot]
    )
    terms_wrong = (
        ("expiry", dated != has_expiry),
        ("strike", option & ~(rows.number("strike") > 0.0)),
        ("strike", ~option & rows.has("strike")),
        ("option_type", option != rows.has("option_type")),
        ("settlement", option & quanto),
    )
    return [
        Check("CONTRACT_TYPE", "settlement", lambda rows: ~rows.has("settlement")),
        Check("CONTRACT_TYPE", "settlement_currency", lambda _: contradicts),
        *(Check("TERMS_MISMATCH", column, _constant(mask)) for column, mask in terms_wrong),
        Check("EXPIRY_TZ", "expiry", lambda rows: _expired_by_zone(rows, expired, terms.as_of)),
        Check("EXPIRED_OPEN", "expiry", lambda _: expired),
        Check("EXPIRY_AT_AS_OF", "expiry", lambda _: has_expiry & (seconds == terms.microseconds)),
        Check("MULTIPLIER", "multiplier", lambda rows: ~(rows.number("multiplier") > 0.0)),
        Check("LOT_SIZE", "lot_size", lambda _: lot_wrong, allowed="above 0, at most 18 decimals"),
        Check(
            "CCY_UNKNOWN",
            "settlement_currency",
            lambda rows: ~rows.is_in("settlement_currency", CASH, *known),
            allowed=listed(known | {CASH}),
        ),
        Check(
            "UNDERLYING_UNKNOWN",
            "underlying",
            lambda rows: ~rows.is_in("underlying", *known),
            allowed=listed(known),
        ),
    ]


def _constant(mask: Booleans) -> checks.Predicate:
    return lambda _: mask


def _expired_by_zone(rows: Rows, expired: Booleans, as_of: datetime) -> Booleans:
    """Return which instants are past although the writer's own clock did not show so."""
    result = np.zeros(len(rows), np.bool_)
    for row in np.flatnonzero(expired & ~rows.bad).tolist():
        shown = cells.wall_clock(rows.text["expiry"][row].as_py())
        result[row] = shown is not None and shown > as_of
    return result


def _check_reference(rows: Rows, reference: Rows) -> None:
    """Set instruments aside whose multiplier is not that of the reference data."""
    index = index_of(rows.text["instrument"], reference.text["instrument"])
    expected = np.append(reference.number("multiplier"), np.nan)[index]
    differs = (index >= 0) & (expected != rows.number("multiplier"))
    rows.flag("MULTIPLIER", "multiplier", differs & ~rows.bad)
