"""Every table that the product reads or writes, declared once: column, type, unit, meaning."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns in order, and the columns that name a row."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with unit and meaning as field metadata."""
        return pa.schema(
            [
                pa.field(
                    column.name,
                    column.type,
                    nullable=column.nullable,
                    metadata={"unit": column.unit, "meaning": column.meaning},
                )
                for column in self.columns
            ]
        )


NONE = "none"
"""Name of the chain, protocol, bridge or venue of what has none."""

TIMESTAMP = pa.timestamp("us", tz="UTC")

INSTRUMENTS = Table(
    "instruments",
    ("instrument",),
    (
        Column("instrument", pa.string(), "name of the instrument; rows are sorted as declared"),
        Column("kind", pa.string(), "spot, future, perpetual or option"),
        Column("settlement", pa.string(), "linear, inverse or quanto"),
        Column("underlying", pa.string(), "what the price is of, such as ETH"),
        Column("settlement_currency", pa.string(), "what gains are paid in, such as USD or ETH"),
        Column("expiry", TIMESTAMP, "last instant; null for spot and perpetuals", "UTC", True),
        Column("strike", pa.float64(), "null unless an option", "USD", True),
        Column("option_type", pa.string(), "call or put; null unless an option", "", True),
        Column("multiplier", pa.float64(), "contract size, see risk.instruments.Instruments"),
        Column("lot_size", pa.float64(), "contracts in one lot, the smallest quantity", "contract"),
        Column("venue", pa.string(), "where it trades"),
        Column("protocol", pa.string(), "the protocol that runs it, or 'none'"),
        Column("chain", pa.string(), "the chain it settles on, or 'none'"),
    ),
)

MEMBERS = Table(
    "members",
    ("member",),
    (
        Column("member", pa.string(), "name of the member"),
        Column("default_fund", pa.float64(), "prefunded contribution", "USD"),
    ),
)

ACCOUNTS = Table(
    "accounts",
    ("account",),
    (
        Column("account", pa.string(), "name of the account; rows are sorted by it"),
        Column("member", pa.int32(), "row of the member who answers for it"),
        Column("margin_mode", pa.int8(), "0 isolated, 1 cross, 2 portfolio"),
    ),
)

POSITIONS = Table(
    "positions",
    ("account", "instrument"),
    (
        Column("account", pa.int32(), "row of the account; rows are sorted by account, instrument"),
        Column("instrument", pa.int32(), "row of the instrument"),
        Column("lots", pa.int64(), "signed quantity in lots, long positive", "lot"),
    ),
)

ASSETS = Table(
    "assets",
    ("asset", "chain", "protocol"),
    (
        Column("asset", pa.string(), "token or currency, such as WETH"),
        Column("chain", pa.string(), "chain that holds it, or 'none'"),
        Column("protocol", pa.string(), "protocol that holds it, or 'none'"),
        Column("underlying", pa.string(), "what it is priced as, such as ETH or USD"),
        Column("haircut", pa.float64(), "fraction of value that does not count, 0 to 1", "1"),
    ),
)

COLLATERAL = Table(
    "collateral",
    ("account", "asset"),
    (
        Column("account", pa.int32(), "row of the account; rows are sorted by account, asset"),
        Column("asset", pa.int32(), "row of the asset"),
        Column("quantity", pa.float64(), "amount held, never negative", "asset"),
    ),
)

QUOTES = Table(
    "quotes",
    ("instrument",),
    (
        Column("instrument", pa.string(), "name of the instrument"),
        Column("underlying", pa.string(), "what the option is on"),
        Column("expiry", TIMESTAMP, "last instant", "UTC"),
        Column("strike", pa.float64(), "strike", "USD"),
        Column("option_type", pa.string(), "call or put"),
        Column("mark", pa.float64(), "mark in units of the forward (coin per coin)", "coin"),
        Column("forward", pa.float64(), "the venue's forward to the expiry", "USD"),
        Column("timestamp", TIMESTAMP, "when the quote was made", "UTC"),
        Column("open_interest", pa.float64(), "contracts open, one side", "contract"),
    ),
)

PRICES = Table(
    "prices",
    ("underlying", "timestamp"),
    (
        Column("underlying", pa.string(), "what the price is of"),
        Column("timestamp", TIMESTAMP, "end of the hour the price closes", "UTC"),
        Column("close", pa.float64(), "last price of the hour", "USD"),
    ),
)

TOKENS = Table(
    "tokens",
    ("token", "chain", "protocol", "bridge"),
    (
        Column("token", pa.string(), "symbol, such as WETH; rows are sorted by the key"),
        Column("chain", pa.string(), "chain that it lives on, or 'none'"),
        Column("protocol", pa.string(), "protocol that it is a claim on, or 'none'"),
        Column("bridge", pa.string(), "bridge that it came over, or 'none'"),
        Column("kind", pa.string(), "one of TOKEN_KINDS"),
        Column("asset", pa.string(), "base asset of cash and coins; null for others", "", True),
        Column("decimals", pa.int16(), "decimals of its base unit"),
    ),
)

RECIPES = Table(
    "recipes",
    ("token", "of"),
    (
        Column("token", pa.int32(), "row of a token; rows are sorted by token, of"),
        Column("of", pa.int32(), "row of a token that it stands for"),
        Column("units", pa.float64(), "units of the other in one unit, above 0", "of"),
    ),
)

FEEDS = Table(
    "feeds",
    ("asset",),
    (
        Column("asset", pa.string(), "base asset; rows are sorted by it"),
        Column("oracle", pa.float64(), "price of the oracle", "USD"),
        Column("market", pa.float64(), "price where it trades", "USD"),
        Column("oracle_time", TIMESTAMP, "when the oracle last answered", "UTC"),
        Column("market_time", TIMESTAMP, "when the price was seen", "UTC"),
        Column("heartbeat", pa.float64(), "longest time between two answers", "second"),
    ),
)

CHAINS = Table(
    "chains",
    ("chain",),
    (
        Column("chain", pa.string(), "chain; the first row is 'none', the rest are sorted"),
        Column("height", pa.int64(), "latest block that was seen", "block"),
        Column("safe", pa.int64(), "latest block that is safe", "block"),
        Column("finalised", pa.int64(), "latest block that is final", "block"),
        Column("time", TIMESTAMP, "when the latest block was made", "UTC"),
        Column("block_time", pa.float64(), "time between blocks; 0 for 'none'", "second"),
    ),
)

MARKETS = Table(
    "markets",
    ("protocol", "chain", "market"),
    (
        Column("protocol", pa.string(), "lending protocol; rows are sorted by the key"),
        Column("chain", pa.string(), "chain"),
        Column("market", pa.string(), "name of the pool within the protocol"),
    ),
)

MARKET_TERMS = Table(
    "market_terms",
    ("market", "token"),
    (
        Column("market", pa.int32(), "row of the market; rows are sorted by market, token"),
        Column("token", pa.int32(), "row of a token that backs debts there"),
        Column("loan_to_value", pa.float64(), "fraction of value that may be borrowed", "1"),
        Column("liquidation_threshold", pa.float64(), "fraction that counts for health", "1"),
        Column("liquidation_bonus", pa.float64(), "what a liquidator gets on top", "1"),
    ),
)

IDENTITY = pa.binary(16)
"""Sixteen bytes that name a thing; all zero where there is none."""

CLAIMS = Table(
    "claims",
    ("account", "market", "token"),
    (
        Column("account", pa.int32(), "row of the account; rows ascend by account, market, token"),
        Column("token", pa.int32(), "row of the token"),
        Column("quantity", pa.float64(), "amount held, or owed in a debt token; >= 0", "token"),
        Column("encumbered", pa.float64(), "part of it that is pledged to others", "token"),
        Column("market", pa.int32(), "row of the lending market that it is in, or -1"),
        Column("root", IDENTITY, "what names the deposit that the claim finally rests on"),
        Column("proof", IDENTITY, "what names the proof that shows it; zero if there is none"),
        Column("height", pa.int64(), "block that it was read at; 0 where there is no chain"),
        Column("standing", pa.int8(), "0 proven, 1 attested, 2 stated"),
        Column("backing", pa.int64(), "row of the claim that it is a receipt for, or -1"),
    ),
)

TOKEN_KINDS = (
    "cash",
    "coin",
    "receipt",
    "share",
    "staked",
    "wrapped",
    "bridged",
    "liquidity",
    "debt",
)
STANDINGS = ("proven", "attested", "stated")
MARGIN_MODES = ("isolated", "cross", "portfolio")
