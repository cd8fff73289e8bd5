"""Instruments, members, accounts and assets from outside: the rows that other rows point to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage import tables
from storage.intake import cells, checks
from storage.intake.cells import Booleans
from storage.intake.checks import Check, Rows
from storage.quarantine import Finding, Findings

CASH = "USD"
PAIRING = "\x1f"  # joins asset, chain and protocol; cannot occur in a clean name
_REGISTRY = "aave_v3_reserves_2026-08-22.parquet"


@dataclass(frozen=True, slots=True)
class Lookup:
    """Names that rows of other datasets may point to.

    ``row`` is the row of each name in the book, -1 for a name that is in quarantine.
    """

    names: pa.Array
    row: NDArray[np.int32]


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
    return Intake(table, Lookup(names, rows_of(names, table["member"].combine_chunks(), rows.bad)))


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
    refuse_key_spellings(rows, keys, "asset")
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
    return Intake(table, Lookup(keys, rows_of(keys, accepted, rows.bad)))


def asset_keys(rows: Rows) -> pa.Array:
    """Return asset, chain and protocol of every row as one text."""
    return joined(rows, tables.ASSETS.key)


def joined(rows: Rows, columns: Sequence[str]) -> pa.Array:
    """Return some columns of every row as one text."""
    return pc.binary_join_element_wise(*(rows.text[name] for name in columns), PAIRING)


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
    rows: Rows,
    column: str,
    names: pa.Array,
    lookup: Lookup,
    unknown: str,
    parts: Sequence[str] = (),
) -> NDArray[np.int32]:
    """Return the book's row of what every row points to, -1 with a finding where there is none.

    A name that is spelled otherwise refuses the dataset. With ``parts``, the columns that names
    are joined of, it sets the row aside, and the finding tells which of them is spelled how.
    """
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
        meant = index_of(spelled, cells.folded(lookup.names))
        same = meant >= 0
        differently = np.zeros(len(rows), np.bool_)
        differently[chosen[same]] = True
        if parts:
            known = lookup.names.take(pa.array(meant[same]))
            _set_spellings_aside(rows, parts, chosen[same], known)
        else:
            rows.flag("KEY_NORMALISATION", column, differently)
        rows.flag(unknown, column, missing & ~differently)
    return found


def _set_spellings_aside(
    rows: Rows, parts: Sequence[str], chosen: NDArray[np.int64], known: pa.Array
) -> None:
    """Set rows aside whose names are known in another spelling, which each finding tells."""
    split = pc.split_pattern(known, PAIRING)
    for place, column in enumerate(parts):
        spelling = pc.list_element(split, place)
        seen = rows.text[column].take(pa.array(chosen))
        differs = np.asarray(pc.not_equal(seen, spelling).to_numpy(zero_copy_only=False))
        for one in pc.unique(spelling.filter(pa.array(differs))):
            mask = np.zeros(len(rows), np.bool_)
            mask[chosen[differs & np.asarray(pc.equal(spelling, one))]] = True
            rows.flag(
                "KEY_NORMALISATION",
                column,
                mask & ~rows.bad,
                allowed=f"{one.as_py()!r}, as it is spelled elsewhere",
                severity="quarantine",
            )


def rows_of(names: pa.Array, accepted: pa.Array, bad: Booleans) -> NDArray[np.int32]:
    """Return the row of every name among those accepted, -1 for a row that is bad."""
    row = np.asarray(pc.fill_null(pc.index_in(names, accepted), -1)).astype(np.int32)
    row[bad] = -1
    return row


def listed(names: frozenset[str]) -> str:
    """Return the first few names, for a message."""
    few = sorted(names)[:12]
    return ", ".join(few) + (f" and {len(names) - len(few)} more" if len(names) > 12 else "")


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
        Check("DECIMALS_MISMATCH", "decimals", lambda rows: decimals_differ(rows, "asset")),
        Check("CCY_UNKNOWN", "underlying", unknown, allowed=listed(known)),
        Check("PEG_ASSUMED", "underlying", lambda _: pegged & ~accepted),
        Check("PEG_ACCEPTED", "underlying", lambda _: pegged & accepted),
    ]


def decimals_differ(rows: Rows, symbol: str) -> Booleans:
    """Return which tokens state other decimals than the token registry has for their chain.

    ``symbol`` is the column that names the token.
    """
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
        pc.utf8_lower(rows.text[symbol]), pc.utf8_lower(rows.text["chain"]), PAIRING
    )
    index = index_of(asked, known)
    expected = registry["decimals"].to_numpy()[index]
    return np.asarray((index >= 0) & ~np.isnan(stated) & (stated != expected))


def refuse_key_spellings(rows: Rows, keys: pa.Array, column: str) -> None:
    """Refuse keys of several columns that differ only in how they are spelled.

    Rows that are set aside already are not looked at.
    """
    keys = pc.if_else(pa.array(rows.bad), "", keys)
    same = cells.folded(keys)
    spellings = pa.table([same, keys], names=["same", "key"]).group_by("same")
    counted = spellings.aggregate([("key", "count_distinct")])
    clashing = counted.filter(pc.greater(counted["key_count_distinct"], 1))["same"]
    if len(clashing):
        mask = pc.is_in(same, value_set=clashing.combine_chunks())
        rows.flag("KEY_NORMALISATION", column, np.asarray(mask.to_numpy(zero_copy_only=False)))
