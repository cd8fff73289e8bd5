"""The format of books and markets outside: every file and column that the import reads."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from storage.tables import MARGIN_MODES, NONE, STANDINGS, TOKEN_KINDS

ColumnKind: TypeAlias = Literal[
    "name",  # text that names the row, must be clean
    "reference",  # the name of a row of another dataset
    "word",  # one of a few words
    "number",  # a finite number, read as float64
    "price",  # a number whose NaN and infinity are judged by the checks, not by the reader
    "quantity",  # a decimal number that must be exact
    "instant",  # ISO 8601 with a zone, or a timestamp column with one
]


@dataclass(frozen=True, slots=True)
class InputColumn:
    """One column of a file from outside."""

    name: str
    kind: ColumnKind
    required: bool = True  # whether the file must have it
    blank: bool = False  # whether a cell may be empty
    default: str = ""  # of every row where the file lacks the column
    words: tuple[str, ...] = ()
    missing_code: str = "SCHEMA_DRIFT"  # finding where a required column is not there


@dataclass(frozen=True, slots=True)
class InputTable:
    """One file from outside: its columns, and those that name a row."""

    name: str
    key: tuple[str, ...]
    columns: tuple[InputColumn, ...]
    required: bool = True  # whether the folder must have it


KINDS = ("spot", "future", "perpetual", "option")
SETTLEMENTS = ("linear", "inverse", "quanto")
SIDES = ("signed", "long", "short")  # signed: the quantity says it


def _placement(name: str) -> InputColumn:
    return InputColumn(name, "name", required=False, blank=True, default=NONE)


INSTRUMENTS = InputTable(
    "instruments",
    ("instrument",),
    (
        InputColumn("instrument", "name"),
        InputColumn("kind", "word", words=KINDS),
        InputColumn(
            "settlement", "word", blank=True, words=SETTLEMENTS, missing_code="CONTRACT_TYPE"
        ),
        InputColumn("underlying", "name", blank=True),
        InputColumn("settlement_currency", "name", blank=True),
        InputColumn("expiry", "instant", blank=True),
        InputColumn("strike", "number", blank=True),
        InputColumn("option_type", "word", blank=True, words=("call", "put")),
        InputColumn("multiplier", "number"),
        InputColumn("lot_size", "quantity"),
        _placement("venue"),
        _placement("protocol"),
        _placement("chain"),
    ),
)

REFERENCE = InputTable(
    "reference",
    ("instrument",),
    (InputColumn("instrument", "reference"), InputColumn("multiplier", "number")),
    required=False,
)

MEMBERS = InputTable(
    "members",
    ("member",),
    (InputColumn("member", "name"), InputColumn("default_fund", "number")),
    required=False,
)

ACCOUNTS = InputTable(
    "accounts",
    ("account",),
    (
        InputColumn("account", "name"),
        InputColumn("member", "name"),
        InputColumn("margin_mode", "word", words=MARGIN_MODES),
    ),
)

POSITIONS = InputTable(
    "positions",
    ("account", "instrument"),
    (
        InputColumn("account", "reference"),
        InputColumn("instrument", "reference"),
        InputColumn("quantity", "quantity"),
        InputColumn("side", "word", required=False, default="signed", words=SIDES),
    ),
)

ASSETS = InputTable(
    "assets",
    ("asset", "chain", "protocol"),
    (
        InputColumn("asset", "name"),
        InputColumn("chain", "name"),
        InputColumn("protocol", "name"),
        InputColumn("underlying", "name", blank=True),
        InputColumn("haircut", "number"),
        InputColumn("decimals", "number", required=False, blank=True),
    ),
)

COLLATERAL = InputTable(
    "collateral",
    ("account", "asset", "chain", "protocol"),
    (
        InputColumn("account", "reference"),
        InputColumn("asset", "reference"),
        InputColumn("chain", "reference"),
        InputColumn("protocol", "reference"),
        InputColumn("quantity", "number"),
        InputColumn("claim", "reference", required=False, blank=True),
    ),
)

QUOTES = InputTable(
    "quotes",
    ("instrument",),
    (
        InputColumn("instrument", "name"),
        InputColumn("underlying", "name"),
        InputColumn("expiry", "instant"),
        InputColumn("strike", "number"),
        InputColumn("option_type", "word", words=("call", "put")),
        InputColumn("mark", "price", blank=True),
        InputColumn("forward", "price", blank=True),
        InputColumn("timestamp", "instant"),
        InputColumn("open_interest", "number"),
        InputColumn("volatility", "price", required=False, blank=True),
        InputColumn("price_unit", "name", required=False, blank=True, default="USD"),
    ),
)

PRICES = InputTable(
    "prices",
    ("underlying", "timestamp"),
    (
        InputColumn("underlying", "name"),
        InputColumn("timestamp", "instant"),
        InputColumn("close", "price", blank=True),
        InputColumn("price_unit", "name", required=False, blank=True, default="USD"),
        InputColumn("second_source", "number", required=False, blank=True),
        InputColumn("round", "quantity", required=False, blank=True),
    ),
)


def _of_token(prefix: str = "", token: str = "token") -> tuple[InputColumn, ...]:
    """Return the columns that point to a token."""
    return (
        InputColumn(token, "reference"),
        *(
            InputColumn(prefix + name, "reference", required=False, default=NONE)
            for name in ("chain", "protocol", "bridge")
        ),
    )


TOKENS = InputTable(
    "tokens",
    ("token", "chain", "protocol", "bridge"),
    (
        InputColumn("token", "name"),
        InputColumn("chain", "name", required=False, default=NONE),
        InputColumn("protocol", "name", required=False, default=NONE),
        InputColumn("bridge", "name", required=False, default=NONE),
        InputColumn("kind", "word", words=TOKEN_KINDS),
        InputColumn("asset", "reference", blank=True),
        InputColumn("decimals", "number"),
    ),
)

RECIPES = InputTable(
    "recipes",
    ("token", "chain", "protocol", "bridge"),
    (*_of_token(), *_of_token("of_", "of"), InputColumn("units", "number")),
    required=False,
)

FEEDS = InputTable(
    "feeds",
    ("asset",),
    (
        InputColumn("asset", "name"),
        InputColumn("oracle", "price", blank=True),
        InputColumn("market", "price", blank=True),
        InputColumn("oracle_time", "instant", blank=True),
        InputColumn("market_time", "instant", blank=True),
        InputColumn("heartbeat", "number"),
    ),
)

CHAINS = InputTable(
    "chains",
    ("chain",),
    (
        InputColumn("chain", "name"),
        InputColumn("height", "number"),
        InputColumn("safe", "number"),
        InputColumn("finalised", "number"),
        InputColumn("time", "instant"),
        InputColumn("block_time", "number"),
    ),
    required=False,
)

MARKET_TERMS = InputTable(
    "markets",
    ("protocol", "chain", "market", "token"),
    (
        InputColumn("protocol", "name"),
        InputColumn("chain", "name"),
        InputColumn("market", "name"),
        InputColumn("token", "reference"),
        InputColumn("token_protocol", "reference", required=False, default=NONE),
        InputColumn("token_bridge", "reference", required=False, default=NONE),
        InputColumn("loan_to_value", "number"),
        InputColumn("liquidation_threshold", "number"),
        InputColumn("liquidation_bonus", "number"),
    ),
    required=False,
)

CLAIMS = InputTable(
    "claims",
    ("account", "token", "chain"),
    (
        InputColumn("account", "reference"),
        *_of_token(),
        InputColumn("quantity", "quantity"),
        InputColumn("encumbered", "number", required=False, blank=True, default="0"),
        InputColumn("market", "reference", required=False, blank=True),
        InputColumn("market_protocol", "reference", required=False, blank=True),
        InputColumn("owner", "reference", required=False, blank=True),
        InputColumn("root", "reference", blank=True),
        InputColumn("proof", "reference", required=False, blank=True),
        InputColumn("height", "number", blank=True),
        InputColumn("standing", "word", words=STANDINGS),
        InputColumn("claim", "reference", required=False, blank=True),
        InputColumn("backing", "reference", required=False, blank=True),
    ),
)

BOOK_INPUTS = (INSTRUMENTS, REFERENCE, MEMBERS, ACCOUNTS, POSITIONS, ASSETS, COLLATERAL)
MARKET_INPUTS = (QUOTES, PRICES)
CLAIM_INPUTS = (TOKENS, RECIPES, FEEDS, CHAINS, MARKET_TERMS, CLAIMS)
