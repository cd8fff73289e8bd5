"""Instruments, members, accounts and assets from outside: the rows that other rows point to."""

from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage import tables
from storage.book import canonical_instruments
from storage.intake import cells, checks, layout
from storage.intake.cells import EXACT_SCALE, Booleans
from storage.intake.checks import Check, Rows
from storage.quarantine import Finding, Findings

CASH = "USD"
PAIRING = "\x1f"  # joins asset, chain and protocol; cannot occur in a clean name
_REGISTRY = "aave_v3_reserves_2026-08-22.parquet"
_LARGEST_LOT = 1 << 53


@dataclass(frozen=True, slots=True)
class Lookup:
    """Names that rows of other datasets may point to.

    ``row`` is the row of each name in the book, -1 for a name that is in quarantine.
    """

    names: pa.Array
    row: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class InstrumentIntake:
    """Accepted instruments in canonical order, and what positions need to know of all of them."""

    table: pa.Table
    lookup: Lookup
    lot: list[tuple[int, int]]  # of every name: a whole number and its scale
    is_spot: Booleans
    strings: pa.Array  # names by lookup index, for messages


@dataclass(frozen=True, slots=True)
class Intake:
    """Accepted rows of one dataset as a table of the book, and the names to look up."""

    table: pa.Table
    lookup: Lookup


@dataclass(frozen=True, slots=True)
class Terms:
    """What the checks of instruments and assets depend on."""

    as_of: datetime
    known: frozenset[str]  # underlyings of the market; empty when the market is not known
    pegs: frozenset[str]  # assets whose peg to USD was accepted by name

    @property
    def microseconds(self) -> int:
        """The valuation instant in microseconds since 1970."""
        return int(pa.scalar(self.as_of, tables.TIMESTAMP).value)


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
        lookup=Lookup(names, _rows_of(names, table["instrument"].combine_chunks(), rows.bad)),
        lot=[_scaled(rows.exact["lot_size"], row) for row in range(len(rows))],
        is_spot=rows.is_in("kind", "spot"),
        strings=names,
    )


def take_members(rows: Rows | None, accounts: Rows, findings: Findings) -> Intake:
    """Check members, or derive them from the accounts where there is no file of members."""
    if rows is None:
        names = pc.unique(accounts.text["member"].filter(pa.array(~accounts.bad)))
        names = names.filter(pc.not_equal(names, "")).sort()
        findings.add(Finding.of("MEMBERS_DERIVED", "members", value=f"{len(names):,} members"))
        funds = pa.array(np.zeros(len(names)))
        table = pa.table([names, funds], schema=tables.MEMBERS.schema)
        return Intake(table, Lookup(names, np.arange(len(names), dtype=np.int32)))
    checks.refuse_spellings(rows, "member")
    checks.refuse_duplicates(rows, rows.text["member"], "member")
    negative = Check(
        "NUMBER_INVALID",
        "default_fund",
        lambda rows: rows.number("default_fund") < 0.0,
        allowed="0 or more",
    )
    checks.apply([negative], rows)
    names = rows.text["member"]
    good = pa.array(rows.good())
    columns = [names.take(good), pa.array(rows.number("default_fund")).take(good)]
    table = pa.table(columns, schema=tables.MEMBERS.schema).sort_by("member")
    return Intake(table, Lookup(names, _rows_of(names, table["member"].combine_chunks(), rows.bad)))


def take_accounts(rows: Rows, members: Intake) -> Intake:
    """Check accounts and return those accepted, sorted by name."""
    checks.refuse_spellings(rows, "account")
    checks.refuse_duplicates(rows, rows.text["account"], "account")
    member = find(rows, "member", rows.text["member"], members.lookup, "UNKNOWN_MEMBER")
    modes = pa.array(tables.MARGIN_MODES)
    mode = pc.fill_null(pc.index_in(rows.text["margin_mode"], modes), -1).cast(pa.int8())
    names = rows.text["account"]
    good = pa.array(rows.good())
    columns = [names.take(good), pa.array(member).take(good), mode.take(good)]
    table = pa.table(columns, schema=tables.ACCOUNTS.schema)
    table = table.take(pc.sort_indices(table["account"])).combine_chunks()
    # Sorted accounts come first, so that their index is their row.
    refused = names.filter(pa.array(rows.bad))
    everything = pa.concat_arrays([table["account"].combine_chunks(), refused])
    row = np.arange(len(everything), dtype=np.int32)
    row[table.num_rows :] = -1
    return Intake(table, Lookup(everything, row))


def take_assets(rows: Rows, terms: Terms) -> Intake:
    """Check assets and return those accepted, sorted by asset, chain and protocol."""
    keys = asset_keys(rows)
    checks.refuse_duplicates(rows, keys, "asset")
    _refuse_key_spellings(rows, keys)
    checks.apply(_asset_checks(rows, terms), rows)
    good = pa.array(rows.good())
    columns = [
        pa.array(rows.number(column.name))
        if column.name in rows.numbers
        else rows.text[column.name]
        for column in tables.ASSETS.columns
    ]
    table = pa.table([column.take(good) for column in columns], schema=tables.ASSETS.schema)
    order = [(name, "ascending") for name in tables.ASSETS.key]
    table = table.sort_by(order).combine_chunks()
    accepted = pc.binary_join_element_wise(
        *(table[name].combine_chunks() for name in tables.ASSETS.key), PAIRING
    )
    return Intake(table, Lookup(keys, _rows_of(keys, accepted, rows.bad)))


def asset_keys(rows: Rows) -> pa.Array:
    """Return asset, chain and protocol of every row as one text."""
    return pc.binary_join_element_wise(*(rows.text[name] for name in tables.ASSETS.key), PAIRING)


def index_of(names: pa.Array, known: pa.Array) -> NDArray[np.int64]:
    """Return the index of every name in ``known``, -1 where it is not there, ``(row,)``.

    Equal neighbours are looked up once: files are mostly grouped by account.
    """
    if len(names) < 2:
        return np.asarray(pc.fill_null(pc.index_in(names, known), -1)).astype(np.int64)
    differs = pc.not_equal(names.slice(1), names.slice(0, len(names) - 1))
    starts = np.concatenate([[0], np.flatnonzero(differs.to_numpy(zero_copy_only=False)) + 1])
    distinct = names.take(pa.array(starts)) if len(starts) < len(names) // 2 else names
    found = np.asarray(pc.fill_null(pc.index_in(distinct, known), -1)).astype(np.int64)
    if distinct is names:
        return found
    return np.repeat(found, np.diff(np.append(starts, len(names))))


def find(
    rows: Rows, column: str, names: pa.Array, lookup: Lookup, unknown: str
) -> NDArray[np.int32]:
    """Return the book's row of what every row points to, -1 with a finding where there is none."""
    index = index_of(names, lookup.names)
    if not len(lookup.names):
        rows.flag(unknown, column, index < 0)
        return index.astype(np.int32)
    found = np.where(index < 0, -1, lookup.row[index]).astype(np.int32)
    rows.flag("REFERENCE_QUARANTINED", column, (index >= 0) & (found < 0))
    missing = (index < 0) & ~rows.bad
    if missing.any():
        chosen = np.flatnonzero(missing)
        spelled = cells.folded(names.take(pa.array(chosen)))
        same = index_of(spelled, cells.folded(lookup.names)) >= 0
        differently = np.zeros(len(rows), np.bool_)
        differently[chosen[same]] = True
        rows.flag("KEY_NORMALISATION", column, differently)
        rows.flag(unknown, column, missing & ~differently)
    return found


def _rows_of(names: pa.Array, accepted: pa.Array, bad: Booleans) -> NDArray[np.int32]:
    row = np.asarray(pc.fill_null(pc.index_in(names, accepted), -1)).astype(np.int32)
    row[bad] = -1
    return row


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
        [not 0 < size < _LARGEST_LOT * 10**scale or scale > EXACT_SCALE for size, scale in lot]
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
            allowed=_listed(known | {CASH}),
        ),
        Check(
            "UNDERLYING_UNKNOWN",
            "underlying",
            lambda rows: ~rows.is_in("underlying", *known),
            allowed=_listed(known),
        ),
    ]


def _constant(mask: Booleans) -> checks.Predicate:
    return lambda _: mask


def _listed(names: frozenset[str]) -> str:
    few = sorted(names)[:12]
    return ", ".join(few) + (f" and {len(names) - len(few)} more" if len(names) > 12 else "")


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


def _asset_checks(rows: Rows, terms: Terms) -> list[Check]:
    haircut = rows.number("haircut")
    pegged = rows.is_in("underlying", CASH) & ~rows.is_in("asset", CASH)
    accepted = rows.is_in("asset", *terms.pegs)
    known = terms.known | {CASH}

    def unknown(rows: Rows) -> Booleans:
        if not terms.known:
            return ~rows.has("underlying")
        return ~rows.is_in("underlying", *known)

    return [
        Check("HAIRCUT_RANGE", "haircut", lambda _: (haircut < 0.0) | (haircut > 1.0)),
        Check("DECIMALS_MISMATCH", "decimals", _decimals_differ),
        Check("CCY_UNKNOWN", "underlying", unknown, allowed=_listed(known)),
        Check("PEG_ASSUMED", "underlying", lambda _: pegged & ~accepted),
        Check("PEG_ACCEPTED", "underlying", lambda _: pegged & accepted),
    ]


def _decimals_differ(rows: Rows) -> Booleans:
    """Return which assets state other decimals than the token registry has for their chain."""
    stated = rows.number("decimals")
    if np.isnan(stated).all():
        return np.zeros(len(rows), np.bool_)
    with files("storage.samples").joinpath(_REGISTRY).open("rb") as file:
        registry = pq.read_table(file, columns=["network", "symbol", "decimals"])
    known = pc.binary_join_element_wise(
        pc.utf8_lower(registry["symbol"].cast(pa.string())),
        pc.utf8_lower(registry["network"].cast(pa.string())),
        PAIRING,
    ).combine_chunks()
    asked = pc.binary_join_element_wise(
        pc.utf8_lower(rows.text["asset"]), pc.utf8_lower(rows.text["chain"]), PAIRING
    )
    index = index_of(asked, known)
    expected = registry["decimals"].to_numpy()[index]
    return np.asarray((index >= 0) & ~np.isnan(stated) & (stated != expected))


def _refuse_key_spellings(rows: Rows, keys: pa.Array) -> None:
    same = cells.folded(keys)
    spellings = pa.table([same, keys], names=["same", "key"]).group_by("same")
    counted = spellings.aggregate([("key", "count_distinct")])
    clashing = counted.filter(pc.greater(counted["key_count_distinct"], 1))["same"]
    if len(clashing):
        mask = pc.is_in(same, value_set=clashing.combine_chunks())
        rows.flag("KEY_NORMALISATION", "asset", np.asarray(mask.to_numpy(zero_copy_only=False)))
