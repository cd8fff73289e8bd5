"""Files of claims from outside, as good as they can be, to be spoilt one cell at a time."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from storage import tables
from storage.book import BookWriter, canonical_instruments

AS_OF = datetime(2024, 1, 8, 11, 19, 41, tzinfo=UTC)
NOW = "2024-01-08T11:19:00Z"
ACCOUNTS = ("a", "b", "c")


def hexadecimal(number):
    """Sixteen bytes that name something."""
    return f"{number:032x}"


GOOD = {
    "tokens": (
        "token,chain,protocol,bridge,kind,asset,decimals\n"
        "USD,none,none,none,cash,USD,2\n"
        "ETH,Ethereum,none,none,coin,ETH,18\n"
        "USDC,Ethereum,none,none,coin,USDC,6\n"
        "WETH,Ethereum,none,none,wrapped,,18\n"
        "WETH,Arbitrum,none,keelway,bridged,,18\n"
        "hWETH,Ethereum,harrowgate,none,receipt,,18\n"
        "debtUSDC,Ethereum,harrowgate,none,debt,,6\n"
        "WETH-USDC,Ethereum,brindlow,none,liquidity,,18\n"
    ),
    "recipes": (
        "token,chain,protocol,bridge,of,of_chain,of_protocol,of_bridge,units\n"
        "WETH,Ethereum,none,none,ETH,Ethereum,none,none,1\n"
        "WETH,Arbitrum,none,keelway,ETH,Ethereum,none,none,1\n"
        "hWETH,Ethereum,harrowgate,none,WETH,Ethereum,none,none,1.05\n"
        "debtUSDC,Ethereum,harrowgate,none,USDC,Ethereum,none,none,1.1\n"
        "WETH-USDC,Ethereum,brindlow,none,WETH,Ethereum,none,none,0.02\n"
        "WETH-USDC,Ethereum,brindlow,none,USDC,Ethereum,none,none,45\n"
    ),
    "feeds": (
        "asset,oracle,market,oracle_time,market_time,heartbeat\n"
        f"USD,1,1,{NOW},{NOW},86400\n"
        f"ETH,2222.19,2221.5,{NOW},{NOW},3600\n"
        f"USDC,1,0.9999,{NOW},{NOW},86400\n"
    ),
    "chains": (
        "chain,height,safe,finalised,time,block_time\n"
        f"Ethereum,18962000,18961968,18961936,{NOW},12\n"
        f"Arbitrum,167600000,167599000,167595904,{NOW},0.26\n"
    ),
    "markets": (
        "protocol,chain,market,token,token_protocol,token_bridge,"
        "loan_to_value,liquidation_threshold,liquidation_bonus\n"
        "harrowgate,Ethereum,main,hWETH,harrowgate,none,0.8,0.83,0.05\n"
    ),
    "claims": (
        "account,token,chain,protocol,bridge,quantity,encumbered,market,market_protocol,"
        "root,proof,height,standing,claim,backing\n"
        f"a,USD,none,none,none,1000.25,0,,,{hexadecimal(1)},,,attested,,\n"
        f"a,ETH,Ethereum,none,none,1.5,0.5,,,{hexadecimal(2)},{hexadecimal(12)},18961936,proven,,\n"
        f"b,hWETH,Ethereum,harrowgate,none,10,0,main,harrowgate,{hexadecimal(3)},"
        f"{hexadecimal(13)},18961936,proven,,\n"
        f"b,debtUSDC,Ethereum,harrowgate,none,9000.5,0,main,harrowgate,{hexadecimal(4)},"
        f"{hexadecimal(14)},18961936,proven,,\n"
        f"c,WETH-USDC,Ethereum,brindlow,none,3,0,,,0x{hexadecimal(5)},,18961936,stated,lp,deposit\n"
        f"c,USDC,Ethereum,none,none,300,300,,,{hexadecimal(6)},,18961936,stated,deposit,\n"
        f"c,WETH,Arbitrum,none,keelway,2,0,,,{hexadecimal(7)},,167595904,stated,,\n"
    ),
}


def small_book(path: Path):
    """A book of three accounts without positions worth speaking of."""
    instruments = canonical_instruments(
        pa.Table.from_pylist(
            [
                {
                    "instrument": "P", "kind": "perpetual", "settlement": "linear",
                    "underlying": "ETH", "settlement_currency": "USD", "expiry": None,
                    "strike": None, "option_type": None, "multiplier": 1.0, "lot_size": 1.0,
                    "venue": "v", "protocol": "none", "chain": "none",
                }
            ],
            schema=tables.INSTRUMENTS.schema,
        )
    )  # fmt: skip
    members = pa.table({"member": ["m"], "default_fund": [0.0]}).cast(tables.MEMBERS.schema)
    assets = tables.ASSETS.schema.empty_table()
    accounts = pa.table(
        {
            "account": pa.array(ACCOUNTS),
            "member": pa.array([0] * 3, pa.int32()),
            "margin_mode": pa.array([2] * 3, pa.int8()),
        },
        schema=tables.ACCOUNTS.schema,
    )
    positions = pa.table(
        {
            "account": pa.array([0, 1], pa.int32()),
            "instrument": pa.array([0, 0], pa.int32()),
            "lots": pa.array([1, -1]),
        },
        schema=tables.POSITIONS.schema,
    )
    with BookWriter(path, "small", AS_OF, instruments, members, assets) as writer:
        writer.append(accounts, positions, tables.COLLATERAL.schema.empty_table())
        return writer.close()


def spoilt(name, line, column, value):
    """The good files with one cell changed; lines count from 1, the header is not counted."""
    header, *rows = GOOD[name].splitlines()
    cells = rows[line - 1].split(",")
    cells[header.split(",").index(column)] = value
    rows[line - 1] = ",".join(cells)
    return GOOD | {name: "\n".join([header, *rows]) + "\n"}


def write_files(folder: Path, files):
    """Write the files as CSV and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    return folder
