"""The rules of a collateral pool: what a claim counts for, as frozen data read from TOML."""

from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from risk.approval import Approval
from risk.claims.tokens import Standing, TokenKind
from risk.specification import Fraction, Name, NonNegative, Positive, Specification, read_toml

NONE = "none"
"""The chain, protocol or bridge of what has none; no rule is needed for it."""

CASH = "cash"
"""What an asset follows that keeps its price in every scenario of the market."""

Names = Annotated[tuple[str, ...], Field(min_length=1)]
Source = Annotated[str, Field(min_length=1)]


class Tier(Specification):
    """A slab of the pool-wide quantity of an asset and its haircut; without ``up_to`` the rest."""

    haircut: Fraction
    up_to: Positive | None = None


class AssetRule(Specification):
    """What base assets count for.

    ``tiers`` are marginal in units of the asset, over the whole pool, and their haircuts rise, so
    that credit is concave and nothing is gained by spreading. ``follows`` is the coin whose price
    moves they share, or ``cash``. With ``wrong_way`` an asset falls by that multiple of the worst
    fall of any coin in every scenario and never rises: the venue's own token.
    """

    assets: Names
    follows: Annotated[str, Field(min_length=1)]
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]
    wrong_way: Positive | None = None
    deviation: Fraction | None = None
    source: Source

    @model_validator(mode="after")
    def _concave(self) -> "AssetRule":
        for number, (one, after) in enumerate(pairwise(self.tiers), 1):
            rising = one.up_to is not None and (after.up_to is None or after.up_to > one.up_to)
            if not rising or after.haircut < one.haircut:
                raise ValueError(
                    f"assets {list(self.assets)}: tier {number + 1} is up to {after.up_to} at "
                    f"{after.haircut:g} after up to {one.up_to} at {one.haircut:g}; let ends and "
                    "haircuts rise, and leave up_to out of the last tier alone"
                )
        if self.tiers[-1].up_to is not None:
            raise ValueError(
                f"assets {list(self.assets)}: the last tier ends at {self.tiers[-1].up_to:g}; say "
                "what the rest counts for, in a tier without up_to"
            )
        return self


class TokenRule(Specification):
    """What tokens of some names lose beside their base assets, for a staked coin is no coin."""

    tokens: Names
    haircut: Fraction
    source: Source


class ChainRule(Specification):
    """A chain: the blocks after which one is final, beside what the chain says, and a haircut."""

    chain: Annotated[str, Field(min_length=1)]
    finality_blocks: Annotated[int, Field(ge=0, le=1_000_000_000)]
    haircut: Fraction = 0.0
    source: Source


class FinalityRule(Specification):
    """Which part of a claim counts at a block that is not safe, safe, and finalised."""

    unsafe: Fraction
    safe: Fraction
    finalised: Fraction
    source: Source

    @model_validator(mode="after")
    def _ordered(self) -> "FinalityRule":
        if not self.unsafe <= self.safe <= self.finalised:
            raise ValueError(
                f"finality counts {self.unsafe:g}, {self.safe:g}, {self.finalised:g}; a block "
                "that is nearer to final never counts for less: let them rise"
            )
        return self


class BridgeRule(Specification):
    """Bridges by how they verify: a haircut, and caps on the credit that rests on each.

    ``cap`` holds for a bridge, ``asset_cap`` for each base asset on it, both over the whole pool in
    the reporting currency; ``asset_caps`` names the assets for which it is another.
    """

    bridges: Names
    verification: Literal["native", "light_client", "optimistic", "signers", "custody"]
    haircut: Fraction
    cap: NonNegative
    asset_cap: NonNegative
    asset_caps: dict[str, NonNegative] = Field(default_factory=dict)
    source: Source

    @model_validator(mode="after")
    def _within(self) -> "BridgeRule":
        for asset, cap in {"any asset": self.asset_cap, **self.asset_caps}.items():
            if cap > self.cap:
                raise ValueError(
                    f"bridges {list(self.bridges)}: the cap of {asset} is {cap:g}, above the cap "
                    f"of the bridge, {self.cap:g}; it can never bind, lower it or leave it out"
                )
        return self


class ProtocolRule(Specification):
    """What a claim on protocols loses for what may befall them."""

    protocols: Names
    haircut: Fraction
    source: Source


class FeedRule(Specification):
    """When a price counts: ages, and how far oracle and market may lie apart.

    An oracle is stale after ``heartbeats`` times its own heartbeat, a market price after
    ``market_seconds``. ``deviation`` is a fraction of the lower of the two.
    """

    heartbeats: Positive
    market_seconds: Positive
    deviation: Fraction
    source: Source


class StandingRule(Specification):
    """The worst standing at which claims in tokens of some kinds count."""

    kinds: Annotated[
        tuple[
            Literal[
                "cash", "coin", "receipt", "share", "staked", "wrapped", "bridged", "liquidity"
            ],
            ...,
        ],
        Field(min_length=1),
    ]
    needs: Literal["proven", "attested", "stated"]
    source: Source


class Policy(Specification):
    """What is decided once for the whole pool.

    ``double_count``: of several claims on one thing none counts, or the first. A claim is skewed
    that was read more than ``skew_seconds`` before its chain's last final block, or that far from
    another claim on its root. ``target_health`` is what the pool leaves a position in a protocol.
    ``origins`` are those of the margin run's scenarios under which collateral is stressed as well.
    """

    origins: Names = ("grid",)
    double_count: Literal["none", "first"]
    skew_seconds: NonNegative
    target_health: Annotated[float, Field(ge=1.0)]
    source: Source


class PoolScenario(Specification):
    """What may befall the pool at once, beside the scenarios of the market.

    ``prices`` are relative moves by coin. ``depegs``: part of its price that a token or asset of
    that name loses. ``bridges``: what is left of tokens that came over it. ``protocols``: part
    of its receipts that is lost. Claims that touch a chain that is halted keep their value, those
    of an asset with a failed oracle as well, and both lose all credit. ``weight`` is the part of
    the loss that the requirement answers for; at 0 the scenario is reported only.
    """

    name: Name
    title: Annotated[str, Field(min_length=1)]
    weight: Fraction
    prices: dict[str, Annotated[float, Field(gt=-1.0)]] = Field(default_factory=dict)
    depegs: dict[str, Fraction] = Field(default_factory=dict)
    bridges: dict[str, Fraction] = Field(default_factory=dict)
    halted_chains: tuple[str, ...] = ()
    failed_oracles: tuple[str, ...] = ()
    protocols: dict[str, Fraction] = Field(default_factory=dict)
    source: Source

    @model_validator(mode="after")
    def _does_something(self) -> "PoolScenario":
        if not (
            self.prices
            or self.depegs
            or self.bridges
            or self.halted_chains
            or self.failed_oracles
            or self.protocols
        ):
            raise ValueError(
                f"scenario {self.name!r} changes nothing; say what fails, or remove it"
            )
        return self


class PoolRules(Specification):
    """The dated rules of a pool; what no rule names counts for nothing."""

    name: Name
    version: Annotated[str, Field(min_length=1)]
    effective: date
    title: Annotated[str, Field(min_length=1)]
    sources: Names
    not_verified: tuple[str, ...] = ()
    policy: Policy
    finality: FinalityRule
    feeds: FeedRule
    standings: tuple[StandingRule, ...] = ()
    assets: Annotated[tuple[AssetRule, ...], Field(min_length=1)]
    tokens: tuple[TokenRule, ...] = ()
    chains: tuple[ChainRule, ...] = ()
    bridges: tuple[BridgeRule, ...] = ()
    protocols: tuple[ProtocolRule, ...] = ()
    scenarios: tuple[PoolScenario, ...] = ()
    approval: Approval | None = None

    @model_validator(mode="after")
    def _named_once(self) -> "PoolRules":
        for what, names in (
            ("asset", _flat(rule.assets for rule in self.assets)),
            ("token", _flat(rule.tokens for rule in self.tokens)),
            ("chain", [rule.chain for rule in self.chains]),
            ("bridge", _flat(rule.bridges for rule in self.bridges)),
            ("protocol", _flat(rule.protocols for rule in self.protocols)),
            ("kind", _flat(rule.kinds for rule in self.standings)),
            ("scenario", [scenario.name for scenario in self.scenarios]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is named by two rules; name it once")
            if NONE in names:
                raise ValueError(f"{what} 'none' needs no rule; leave it out")
        return self

    @model_validator(mode="after")
    def _scenarios_name_what_is_known(self) -> "PoolRules":
        coins = sorted({rule.follows for rule in self.assets} - {CASH})
        known = {
            "prices": coins,
            "bridges": _flat(rule.bridges for rule in self.bridges),
            "halted_chains": [rule.chain for rule in self.chains],
            "failed_oracles": _flat(rule.assets for rule in self.assets),
            "protocols": _flat(rule.protocols for rule in self.protocols),
        }
        for rule in self.bridges:
            for name in rule.asset_caps:
                if name not in known["failed_oracles"]:
                    raise ValueError(
                        f"bridges {list(rule.bridges)}: asset_caps name {name!r}, of which no rule "
                        f"speaks; known are {known['failed_oracles']}"
                    )
        for scenario in self.scenarios:
            for field, names in known.items():
                for name in getattr(scenario, field):
                    if name not in names:
                        raise ValueError(
                            f"scenario {scenario.name!r}: {field} name {name!r}, of which no rule "
                            f"speaks; known are {names}"
                        )
        return self

    def needed(self, kind: TokenKind) -> Standing:
        """Return the worst standing at which a claim in a token of a kind counts."""
        for rule in self.standings:
            if kind.name.lower() in rule.kinds:
                return Standing[rule.needs.upper()]
        return Standing.STATED


def parse_pool_rules(text: str) -> PoolRules:
    """Return the rules that a TOML text describes.

    Raises:
        ValueError: the text is not TOML, or a field is missing, misspelt or out of its range.
    """
    return PoolRules.model_validate(read_toml(text))


def _flat(names: Iterable[Iterable[str]]) -> list[str]:
    return [name for some in names for name in some]
