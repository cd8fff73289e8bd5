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

MARGIN_MODES = ("isolated", "cross", "portfolio")
