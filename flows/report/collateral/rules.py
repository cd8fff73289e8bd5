"""The rules of the pool with their sources."""

from collections.abc import Iterable, Iterator

from flows.format import duration, money, percent, short
from flows.report.collateral.failures import weight_words
from flows.report.collateral.view import PoolView
from flows.report.picture import Table
from risk.claims.rules import AssetRule, PoolRules, PoolScenario

Row = tuple[str, str, str, str]


def sources(view: PoolView) -> Table:
    """Return the sources that the rules name for themselves."""
    return Table(
        title="Sources of the rules",
        caption="As the rules name them; a number whose source is choice is nobody's but theirs.",
        columns=("Source",),
        rows=[(source,) for source in view.rules.sources],
        wide=True,
    )


def rule_table(view: PoolView) -> Table:
    """Return every rule in words with its source."""
    return Table(
        title="Every rule and its source",
        caption=(
            "Haircuts are parts of the value that do not count; they multiply. Sizes are "
            "quantities over the whole pool, caps US dollars of credit over the whole pool."
        ),
        columns=("Rule", "Of", "Says", "Source"),
        rows=[*_policy(view.rules), *_haircuts(view.rules), *_failures(view.rules)],
        text_columns=(0, 1, 2, 3),
        wide=True,
        folded=True,
    )


def _policy(rules: PoolRules) -> Iterator[Row]:
    policy, finality, feeds = rules.policy, rules.finality, rules.feeds
    yield (
        "policy",
        "the pool",
        f"of several claims on one thing {_counts(policy.double_count)}; claims may be read "
        f"{duration(policy.skew_seconds)} apart; a position in a market is left a health of "
        f"{policy.target_health:g}; scenarios of the market: {', '.join(policy.origins)}",
        policy.source,
    )
    yield (
        "finality",
        "blocks",
        f"counts {percent(finality.unsafe)} before it is safe, {percent(finality.safe)} once safe, "
        f"{percent(finality.finalised)} once final",
        finality.source,
    )
    yield (
        "prices",
        "oracle and market",
        f"stale after {feeds.heartbeats:g} heartbeats or {duration(feeds.market_seconds)}; at most "
        f"{percent(feeds.deviation)} apart",
        feeds.source,
    )
    for rule in rules.standings:
        yield "standing", ", ".join(rule.kinds), f"at least {rule.needs}", rule.source


def _counts(policy: str) -> str:
    return "none counts" if policy == "none" else "the first counts"


def _haircuts(rules: PoolRules) -> Iterator[Row]:
    for asset in rules.assets:
        yield "asset", ", ".join(asset.assets), _tiers(asset), asset.source
    for token in rules.tokens:
        says = f"{percent(token.haircut)} besides its assets"
        yield "token", ", ".join(token.tokens), says, token.source
    for chain in rules.chains:
        says = f"{percent(chain.haircut)}; final after {chain.finality_blocks:,} blocks"
        yield "chain", chain.chain, says, chain.source
    for bridge in rules.bridges:
        own = [f"{asset} {money(cap)}" for asset, cap in bridge.asset_caps.items()]
        says = (
            f"{percent(bridge.haircut)}, verification: {bridge.verification.replace('_', ' ')}; at "
            f"most {money(bridge.cap)} on it, of one asset {money(bridge.asset_cap)}"
            f"{_but(own)}"
        )
        yield "bridge", ", ".join(bridge.bridges), says, bridge.source
    for protocol in rules.protocols:
        yield (
            "protocol",
            ", ".join(protocol.protocols),
            percent(protocol.haircut),
            protocol.source,
        )


def _but(exceptions: Iterable[str]) -> str:
    listed = ", ".join(exceptions)
    return f", but {listed}" if listed else ""


def _tiers(rule: AssetRule) -> str:
    last = "of the rest" if len(rule.tiers) > 1 else "of any size"
    tiers = [
        f"{percent(tier.haircut)} "
        + (f"up to {short(tier.up_to)}" if tier.up_to is not None else last)
        for tier in rule.tiers
    ]
    wrong = (
        f"; falls {rule.wrong_way:g} times the worst coin in every scenario"
        if rule.wrong_way is not None
        else ""
    )
    return f"{', '.join(tiers)}; moves with {rule.follows}{wrong}"


def _failures(rules: PoolRules) -> Iterator[Row]:
    for one in rules.scenarios:
        says = f"{'; '.join(_changes(one))}; counted {weight_words(one.weight)}"
        yield "failure", one.title, says.replace("counted reported", "reported"), one.source


def _changes(one: PoolScenario) -> Iterator[str]:
    for name, move in one.prices.items():
        yield f"{name} moves by {percent(move)}"
    for name, part in one.depegs.items():
        yield f"{name} loses {percent(part)} of its price"
    for name, part in one.bridges.items():
        yield f"{percent(part)} is left of what came over {name}"
    for name in one.halted_chains:
        yield f"what touches {name} loses all credit"
    for name in one.failed_oracles:
        yield f"{name} loses all credit"
    for name, part in one.protocols.items():
        yield f"{name} loses {percent(part)} of what it holds"
