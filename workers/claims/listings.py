"""What synthetic claims can be of: tokens on real chains, of invented protocols and bridges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod, sqrt

from storage.claims import NONE

# Protocols and bridges are invented; chains and symbols are real, those of protocols' own apart.
LENDING = "harrowgate"
VAULTS = "tarnwick"
STAKING = "ulvane"
EXCHANGE = "brindlow"
OPTIONS = "quillo"
SOLANA_VENUE = "sandril"
ARBITRUM_VENUE = "vespero"

ROLLUP_BRIDGE = "keelway"
"""Bridges of rollups, verified by the chain itself."""
LIGHT_BRIDGE = "lumenspan"
"""A light client."""
OPTIMISTIC_BRIDGE = "tarryway"
"""Claims stand unless they are disputed."""
SIGNED_BRIDGE = "quorumgate"
"""A quorum of outside signers."""
CUSTODY_BRIDGE = "vaultmark"
"""A custodian who holds the coins."""

DOLLARS = ("USDC", "USDT", "DAI", "FRAX", "LUSD")
"""Base assets that are worth a dollar, more or less; each has a feed of its own."""

HELD_AS_USD = {"USDC": 3.0, "USDT": 2.0, "DAI": 0.7, "FRAX": 0.06, "LUSD": 0.06}
"""How often each is held; choice. The last two are small because their feeds are bad."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One token: what it is called, what it stands for, and how often it is held.

    ``parts`` are rows of the listing that it stands for, with units; ``value`` is USD of one unit
    at mark. ``held`` is how often it is held as collateral in ``underlyings``.
    """

    token: str
    chain: str
    protocol: str
    bridge: str
    kind: str
    decimals: int
    asset: str | None
    parts: tuple[tuple[int, float], ...]
    value: float
    underlyings: tuple[str, ...]
    held: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names the token."""
        return self.token, self.chain, self.protocol, self.bridge


@dataclass
class Listing:
    """Tokens while they are listed; what a token stands for is listed before it.

    ``prices`` are USD by base asset. Tokens of assets without a price are left out, and so is
    what stands for them.
    """

    prices: Mapping[str, float]
    tokens: list[Listed] = field(default_factory=list)

    def base(
        self,
        asset: str,
        chain: str,
        decimals: int,
        underlying: str,
        held: float,
        *,
        symbol: str = "",
        kind: str = "coin",
    ) -> int | None:
        """List a base asset on a chain, and return its row."""
        if asset not in self.prices:
            return None
        self.tokens.append(
            Listed(
                symbol or asset, chain, NONE, NONE, kind, decimals, asset, (),
                self.prices[asset], (underlying,), held,
            )
        )  # fmt: skip
        return len(self.tokens) - 1

    def of(
        self,
        token: str,
        kind: str,
        part: int | None,
        units: float = 1.0,
        *,
        chain: str = "",
        protocol: str = NONE,
        bridge: str = NONE,
        held: float = 0.0,
        decimals: int | None = None,
    ) -> int | None:
        """List a token that stands for units of another, on its chain unless said."""
        if part is None:
            return None
        under = self.tokens[part]
        self.tokens.append(
            Listed(
                token, chain or under.chain, protocol, bridge, kind,
                under.decimals if decimals is None else decimals, None, ((part, units),),
                units * under.value, under.underlyings, held,
            )
        )  # fmt: skip
        return len(self.tokens) - 1

    def liquidity(
        self, token: str, parts: tuple[int | None, int | None], tilt: float, held: float
    ) -> int | None:
        """List the share of a pool of two tokens, a unit of it worth about a hundred dollars.

        ``tilt`` is how far the pool's reserves are from those of the fair price, so that reserves
        at their prices add up to more than the fair value.
        """
        first, second = parts
        if first is None or second is None:
            return None
        one, other = self.tokens[first], self.tokens[second]
        reserves = (50.0 * (1.0 + tilt) / one.value, 50.0 / (1.0 + tilt) / other.value)
        value = 2.0 * sqrt(prod(reserves) * one.value * other.value)
        underlyings = tuple(dict.fromkeys((*one.underlyings, *other.underlyings)))
        self.tokens.append(
            Listed(
                token, one.chain, EXCHANGE, NONE, "liquidity", 18, None,
                ((first, reserves[0]), (second, reserves[1])), value, underlyings, held,
            )
        )  # fmt: skip
        return len(self.tokens) - 1

    def circle(self, names: tuple[str, ...], chain: str) -> list[int]:
        """List vault shares that stand for each other round in a circle."""
        first = len(self.tokens)
        for place, name in enumerate(names):
            after = first + (place + 1) % len(names)
            self.tokens.append(
                Listed(
                    name, chain, VAULTS, NONE, "share", 18, None, ((after, 1.0),), 1.0, (), 0.0
                )
            )  # fmt: skip
        return list(range(first, first + len(names)))

    def find(self, token: str, chain: str) -> int | None:
        """Return the row of the token of that name on a chain, the first if there are several."""
        rows = (
            row for row, one in enumerate(self.tokens) if one.token == token and one.chain == chain
        )
        return next(rows, None)


def list_tokens(prices: Mapping[str, float], rates: Mapping[str, float]) -> Listing:
    """Return every token of the synthetic claims but receipts and debts of lending markets.

    Args:
        prices: USD by base asset.
        rates: ETH by staked coin, DAI by sDAI.
    """
    listing = Listing(prices)
    listing.base("USD", NONE, 2, "USD", 3.0, kind="cash")
    _list_ether(listing, rates)
    _list_bitcoin(listing)
    _list_dollars(listing, rates)
    _list_solana(listing)
    _list_vaults_and_pools(listing)
    listing.circle(("ringA", "ringB", "ringC"), "Ethereum")
    return listing


def _list_ether(listing: Listing, rates: Mapping[str, float]) -> None:
    ether = listing.base("ETH", "Ethereum", 18, "ETH", 1.5)
    listing.of("WETH", "wrapped", ether, held=1.0)
    for chain in ("Arbitrum", "Optimism", "Base"):
        coin = listing.of("ETH", "bridged", ether, chain=chain, bridge=ROLLUP_BRIDGE, held=0.5)
        listing.of("WETH", "wrapped", coin, held=0.8)
    listing.of("WETH", "bridged", ether, chain="Polygon", bridge=SIGNED_BRIDGE, held=0.5)
    listing.of("WETH.e", "bridged", ether, chain="Avalanche", bridge=LIGHT_BRIDGE, held=0.4)
    listing.of("ETH", "bridged", ether, chain="Bsc", bridge=OPTIMISTIC_BRIDGE, held=0.3)
    listing.of("WETH", "bridged", ether, chain="Solana", bridge=SIGNED_BRIDGE, held=0.1, decimals=8)
    staked = listing.of("stETH", "staked", ether, protocol=STAKING, held=0.5)
    wrapped = listing.of("wstETH", "share", staked, rates["wstETH"], protocol=STAKING, held=0.6)
    for token in ("rETH", "cbETH"):
        listing.of(token, "staked", ether, rates[token], protocol=STAKING, held=0.2)
    for chain, bridge in (
        ("Arbitrum", ROLLUP_BRIDGE),
        ("Optimism", ROLLUP_BRIDGE),
        ("Base", ROLLUP_BRIDGE),
        ("Polygon", SIGNED_BRIDGE),
    ):
        listing.of("wstETH", "bridged", wrapped, chain=chain, bridge=bridge, held=0.3)
    row = listing.find("rETH", "Ethereum")
    for chain in ("Arbitrum", "Optimism"):
        listing.of("rETH", "bridged", row, chain=chain, bridge=ROLLUP_BRIDGE, held=0.1)


def _list_bitcoin(listing: Listing) -> None:
    coin = listing.base("BTC", "Btc", 8, "BTC", 2.0)
    wrapped = listing.of("WBTC", "bridged", coin, chain="Ethereum", bridge=CUSTODY_BRIDGE, held=0.8)
    for chain, bridge, held in (
        ("Arbitrum", ROLLUP_BRIDGE, 0.3),
        ("Optimism", ROLLUP_BRIDGE, 0.2),
        ("Polygon", SIGNED_BRIDGE, 0.2),
    ):
        listing.of("WBTC", "bridged", wrapped, chain=chain, bridge=bridge, held=held)
    listing.of("WBTC.e", "bridged", wrapped, chain="Avalanche", bridge=LIGHT_BRIDGE, held=0.3)
    listing.of("BTC.b", "bridged", coin, chain="Avalanche", bridge=LIGHT_BRIDGE, held=0.4)
    listing.of("BTCB", "bridged", coin, chain="Bsc", bridge=CUSTODY_BRIDGE, held=0.4, decimals=18)


def _list_dollars(listing: Listing, rates: Mapping[str, float]) -> None:
    held = HELD_AS_USD
    for chain, decimals in (
        ("Ethereum", 6), ("Arbitrum", 6), ("Optimism", 6), ("Base", 6),
        ("Polygon", 6), ("Avalanche", 6), ("Solana", 6),
    ):  # fmt: skip
        listing.base("USDC", chain, decimals, "USD", held["USDC"] / 3.0)
    for chain, symbol in (("Ethereum", "USDT"), ("Avalanche", "USDt")):
        listing.base("USDT", chain, 6, "USD", held["USDT"] / 2.0, symbol=symbol)
    for asset in ("DAI", "FRAX", "LUSD"):
        listing.base(asset, "Ethereum", 18, "USD", held[asset])
    circle, tether = listing.find("USDC", "Ethereum"), listing.find("USDT", "Ethereum")
    dai = listing.find("DAI", "Ethereum")
    for chain, bridge in (
        ("Arbitrum", ROLLUP_BRIDGE),
        ("Optimism", ROLLUP_BRIDGE),
        ("Polygon", SIGNED_BRIDGE),
    ):
        listing.of("USDC.e", "bridged", circle, chain=chain, bridge=bridge, held=0.3)
        listing.of("USDT", "bridged", tether, chain=chain, bridge=bridge, held=0.4)
        listing.of("DAI", "bridged", dai, chain=chain, bridge=bridge, held=0.2)
    listing.of("DAI.e", "bridged", dai, chain="Avalanche", bridge=LIGHT_BRIDGE, held=0.2)
    for symbol, row in (("USDC", circle), ("USDT", tether)):
        bridge = OPTIMISTIC_BRIDGE
        listing.of(symbol, "bridged", row, chain="Bsc", bridge=bridge, held=0.4, decimals=18)
    listing.of("USDT", "bridged", tether, chain="Solana", bridge=SIGNED_BRIDGE, held=0.2)
    listing.of("sDAI", "share", dai, rates["sDAI"], protocol=VAULTS, held=0.3)
    for chain, protocol in (
        ("Arbitrum", OPTIONS),
        ("Optimism", OPTIONS),
        ("Arbitrum", ARBITRUM_VENUE),
        ("Solana", SOLANA_VENUE),
    ):
        row = listing.find("USDC", chain)
        listing.of(f"{protocol}USDC", "receipt", row, protocol=protocol, held=0.3)


def _list_solana(listing: Listing) -> None:
    coin = listing.base("SOL", "Solana", 9, "SOL", 1.0)
    listing.of("WSOL", "wrapped", coin, held=0.2)
    # Choice, about what staked SOL had earned by the beginning of 2024.
    listing.of("ulSOL", "staked", coin, 1.14, protocol=STAKING, held=0.4)
    listing.of("sandrilSOL", "receipt", coin, protocol=SOLANA_VENUE, held=0.4)
    listing.of("SOL", "bridged", coin, chain="Ethereum", bridge=SIGNED_BRIDGE, held=0.1)


POOL_TILT = 0.01
"""How far reserves of pools are from the fair price; choice."""


def _list_vaults_and_pools(listing: Listing) -> None:
    for symbol, chain, rate, held in (
        ("USDC", "Ethereum", 1.06, 0.4),
        ("USDC", "Arbitrum", 1.05, 0.3),
        ("USDC", "Base", 1.04, 0.3),
        ("WETH", "Ethereum", 1.03, 0.3),
        ("WETH", "Base", 1.02, 0.2),
    ):
        # Rates of vaults are choices.
        row = listing.find(symbol, chain)
        listing.of(f"tv{symbol}", "share", row, rate, protocol=VAULTS, held=held)
    for first, second, chain, held in (
        ("WETH", "USDC", "Ethereum", 0.25),
        ("WETH", "USDC", "Arbitrum", 0.15),
        ("WETH", "USDC", "Base", 0.15),
        ("WBTC", "WETH", "Ethereum", 0.1),
        ("WSOL", "USDC", "Solana", 0.15),
    ):
        parts = (listing.find(first, chain), listing.find(second, chain))
        listing.liquidity(f"{first}-{second}", parts, POOL_TILT, held)
