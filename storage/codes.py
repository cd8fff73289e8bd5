"""Every name that bad input can be given: what it means, what is allowed, what to do."""

from storage.claim_codes import CLAIM_CODES
from storage.code import Code, Severity
from storage.market_codes import MARKET_CODES
from storage.proof_codes import PROOF_CODES

__all__ = ["CODES", "Code", "Severity"]

_Q: Severity = "quarantine"
_R: Severity = "refuse"
_W: Severity = "warn"

_FILES = (
    Code(
        "DATASET_MISSING",
        _R,
        "a file that the import needs is not there",
        "one file per dataset, ending in .csv or .parquet",
        "add the file, or correct its name",
    ),
    Code(
        "DATASET_UNREADABLE",
        _R,
        "a file is damaged, cut off or not of the format its name promises",
        "a whole CSV or Parquet file",
        "fetch the file again and compare its size with the sender's",
    ),
    Code(
        "DATASET_TOO_LARGE",
        _R,
        "a small file says that it unpacks to far more than any table would",
        "at most 64 rows for each byte of a file of more than a million rows",
        "write the file again from the table; a file like this one is made to fill the memory",
    ),
    Code(
        "CELL_TOO_LONG",
        _R,
        "a cell is longer than any name or number",
        "at most 1,024 bytes",
        "look at the cell: quotes that are not closed swallow lines",
    ),
    Code(
        "EMPTY_INPUT",
        _R,
        "a dataset has no usable row, so nothing it said could be an all-clear",
        "at least one row",
        "check the export that made the file",
    ),
    Code(
        "SCHEMA_DRIFT",
        _R,
        "columns are missing, renamed, doubled or of another type",
        "the documented columns and types",
        "rename or restore the columns in the export",
    ),
    Code(
        "SCHEMA_ADDED",
        _W,
        "a column is there that the import does not know; it was not read",
        "the documented columns",
        "leave the column out, or check that nothing in it is needed",
    ),
    Code(
        "ROW_SHAPE",
        _R,
        "a line has more or fewer cells than the header",
        "as many cells as the header, cells with commas in quotes",
        "quote the cell, and write numbers with a point and no separators",
    ),
    Code(
        "ENCODING",
        _Q,
        "a name is not clean text: not UTF-8, invisible characters, or a spreadsheet formula",
        "UTF-8 without control or invisible characters, not starting with = + - or @",
        "correct the name where the file is made",
    ),
    Code(
        "NAME_MISSING",
        _Q,
        "a row does not say what it is about",
        "a name that is not empty",
        "fill in the name",
    ),
    Code(
        "NUMBER_FORMAT",
        _R,
        "numbers are written with a decimal comma, separators between thousands or an exponent",
        "digits with a decimal point, such as -1234.5",
        "export numbers without local formatting",
    ),
    Code(
        "NUMBER_INVALID",
        _Q,
        "a cell that must be a number is empty, not a number, or not finite",
        "a finite number such as -1234.5",
        "correct the cell",
    ),
    Code(
        "ENUM_UNKNOWN",
        _Q,
        "a word is not one of those the column may hold",
        "the documented words",
        "map the word to a documented one in the export; do not guess",
    ),
    Code(
        "DTYPE_NARROW",
        _R,
        "a column is stored in fewer bits than its numbers need",
        "64-bit integers and floats, decimals, or text",
        "write the column with a wider type",
    ),
)

_KEYS = (
    Code(
        "DUPLICATE_KEY",
        _R,
        "two rows have the same key",
        "one row per key",
        "remove one of the rows, or merge position lines (--merge-duplicates)",
    ),
    Code(
        "DUPLICATE_MERGED",
        _W,
        "lines of one account in one instrument were added up, as asked",
        "one row per key",
        "nothing, if the lines are separate trades; otherwise remove the copies",
    ),
    Code(
        "KEY_NORMALISATION",
        _R,
        "two names differ only in case, spaces or the form of their characters",
        "one spelling per name in all files",
        "use one spelling",
    ),
    Code(
        "UNKNOWN_INSTRUMENT",
        _Q,
        "a position is in an instrument that the instruments do not list",
        "a name from the instruments",
        "add the instrument or correct the name; the account is held until then",
    ),
    Code(
        "UNKNOWN_ACCOUNT",
        _Q,
        "a row belongs to an account that the accounts do not list",
        "a name from the accounts",
        "add the account or correct the name",
    ),
    Code(
        "UNKNOWN_MEMBER",
        _Q,
        "an account names a member that the members do not list",
        "a name from the members",
        "add the member or correct the name",
    ),
    Code(
        "UNKNOWN_ASSET",
        _Q,
        "collateral is in an asset, chain and protocol that the assets do not list",
        "asset, chain and protocol of a row of the assets",
        "add the asset or correct the row; the account is held until then",
    ),
    Code(
        "MEMBERS_DERIVED",
        _W,
        "there are no members, so they are those that accounts name, without default funds",
        "a file of members with their default funds",
        "add the members where default funds matter",
    ),
    Code(
        "REFERENCE_QUARANTINED",
        _Q,
        "the row points to another row that is itself in quarantine",
        "a row that was accepted",
        "correct the other row, found under the same name in the quarantine",
    ),
)

_TERMS = (
    Code(
        "CONTRACT_TYPE",
        _R,
        "settlement is missing, or contradicts the currency the contract pays in",
        "linear pays cash or a third currency, inverse pays the underlying, quanto a third coin",
        "state settlement as linear, inverse or quanto; gains of the wrong one have another sign",
    ),
    Code(
        "TERMS_MISMATCH",
        _Q,
        "the terms do not fit the kind of contract",
        "an option has expiry, strike above 0 and option_type; a future has an expiry only",
        "complete the terms, or remove those that do not belong",
    ),
    Code(
        "MULTIPLIER",
        _Q,
        "the contract size is not above zero, or differs from the reference data",
        "the multiplier of the reference data, above 0",
        "correct the multiplier; every amount of the contract scales with it",
    ),
    Code(
        "CCY_UNKNOWN",
        _Q,
        "a currency is missing or has no price in the market",
        "USD or an underlying of the market",
        "name a priced currency; none is taken to be USD",
    ),
    Code(
        "UNDERLYING_UNKNOWN",
        _Q,
        "the underlying is missing or has no price in the market",
        "an underlying of the market",
        "add its prices to the market, or correct the name",
    ),
    Code(
        "EXPIRED_OPEN",
        _Q,
        "the contract has expired before the valuation instant",
        "an expiry after the valuation instant",
        "settle the positions, or correct the expiry",
    ),
    Code(
        "EXPIRY_AT_AS_OF",
        _Q,
        "the contract expires at the very instant of valuation, and no settlement price is given",
        "an expiry after the valuation instant",
        "settle the positions at the settlement price first",
    ),
    Code(
        "EXPIRY_TZ",
        _Q,
        "the contract has expired only because of the zone its expiry is written in",
        "the instant of expiry in UTC, such as 2024-03-29T08:00:00Z",
        "check the zone of the export, then write UTC",
    ),
    Code(
        "TZ_MISSING",
        _R,
        "an instant is written without a time zone",
        "ISO 8601 with a zone, such as 2024-03-29T08:00:00Z",
        "export instants in UTC with a Z",
    ),
    Code(
        "TIME_UNIT",
        _Q,
        "an instant is a bare number or lies outside 2009 to 2100: a unit was mistaken",
        "ISO 8601 between 2009 and 2100",
        "convert seconds or milliseconds to ISO 8601 in the export",
    ),
    Code(
        "TIME_INVALID",
        _Q,
        "an instant cannot be read",
        "ISO 8601 with a zone, such as 2024-03-29T08:00:00Z",
        "correct the cell",
    ),
)

_QUANTITIES = (
    Code(
        "LOT_SIZE",
        _Q,
        "a quantity is not a whole number of lots, or a lot is not above zero",
        "a whole multiple of the instrument's lot_size",
        "correct the quantity or the lot_size; the account is held until then",
    ),
    Code(
        "OVERFLOW",
        _R,
        "a quantity is too large to be held exactly",
        "less than 2^53 lots either way, in all less than 2^62; no floats from 2^53 on",
        "check the unit (base units such as wei?), use larger lots, or write the number as text",
    ),
    Code(
        "UNBALANCED_OI",
        _R,
        "longs and shorts of a derivative do not sum to zero, so positions are missing or doubled",
        "a sum of exactly 0 per instrument, spot excepted",
        "complete the export, or say that the book is one-sided (--one-sided)",
    ),
    Code(
        "SIGN_CONVENTION",
        _R,
        "no derivative position is negative: shorts are written as positive numbers",
        "long positive and short negative, or a side column of long and short",
        "export signed quantities, or say that the book is one-sided (--one-sided)",
    ),
    Code(
        "COLLATERAL_NEGATIVE",
        _Q,
        "collateral is negative; a debt is not collateral",
        "0 or more",
        "book the debt where debts belong; the account is held until then",
    ),
    Code(
        "HAIRCUT_RANGE",
        _R,
        "a haircut is not a fraction of the value",
        "0 to 1, so 0.05 for five percent",
        "divide percentages by 100",
    ),
    Code(
        "DECIMALS_MISMATCH",
        _R,
        "a token's decimals differ from those of its contract",
        "the decimals of the token registry",
        "correct the decimals, then check every quantity converted with them",
    ),
    Code(
        "DOUBLE_COUNT_COLLATERAL",
        _R,
        "one claim is counted as collateral more than once",
        "each claim in one row, on one chain",
        "keep the row of the chain where the claim can be seized",
    ),
    Code(
        "PEG_ASSUMED",
        _R,
        "a coin is priced as USD as if its peg could not break",
        "a price of its own, or a peg that was accepted by name",
        "set its underlying to itself and give it a price, or accept the peg by name",
    ),
    Code(
        "PEG_ACCEPTED",
        _W,
        "a coin is valued at one dollar because its peg was accepted by name",
        "a price of its own",
        "give it a price when one can be had",
    ),
)

_RULES = (
    Code(
        "RULE_MISSING",
        _Q,
        "the rule book of a run has no rule for an instrument, such as an option under a lender's",
        "instruments that a rule of the methodology is for",
        "give the methodology a rule, or take the position out; the account is held back there",
    ),
)

_ALL = (*_FILES, *_KEYS, *_TERMS, *_QUANTITIES, *MARKET_CODES, *CLAIM_CODES, *PROOF_CODES, *_RULES)

CODES = {code.name: code for code in _ALL}
"""Every code by its name."""
