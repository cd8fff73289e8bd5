"""The stress run in one paragraph and the numbers that matter most."""

import numpy as np

from flows.format import NOTHING, duration, exact, instant, money, percent, size
from flows.report.document import Tile
from flows.report.stress.view import StressView


def summary(view: StressView) -> str:
    """Return the run in one paragraph."""
    row = int(view.worst[0])
    shortfall = view.total("shortfall")
    short = int(shortfall.argmax())
    parts = [
        f"{exact(view.manifest['totals']['accounts'])} accounts go through "
        f"{exact(len(view.names))} scenarios, each to the end of its liquidations.",
        f"The worst is {view.names[row]}: losses of {view.losers} come to "
        f"{money(float(view.lost[row]))}, "
        f"against {money(float(view.values('lost_alone')[row]))} were nobody closed; "
        f"{exact(float(view.values('touched')[row]))} accounts are closed in part or whole.",
    ]
    if shortfall[short] > 0.0:
        parts.append(
            f"At most {money(float(shortfall[short]))} are left over what accounts had, in "
            f"{view.names[short]}: {_bearers(view, short)}."
        )
    else:
        parts.append("In no scenario is anything left over what accounts had.")
    return " ".join(parts)


def _bearers(view: StressView, row: int) -> str:
    borne = view.total("borne")[row]
    names = [layer_words(str(name)).lower() for name in view.totals["layer"].values]
    said = [
        f"{name} {money(float(amount))}"
        for name, amount in zip(names, borne, strict=True)
        if amount > 0.0
    ]
    unborne = float(view.total("unborne")[row])
    return ", ".join(said + ([f"nobody {money(unborne)}"] if unborne > 0.0 else []))


def layer_words(name: str) -> str:
    """Return the name of a layer as people say it.

    >>> layer_words("mutual_fund")
    'Mutual fund'
    """
    return name.replace("_", " ").capitalize()


def tiles(view: StressView) -> list[Tile]:
    """Return the headline numbers."""
    worst, shortfall = int(view.worst[0]), view.total("shortfall")
    short, touched, sold = int(shortfall.argmax()), view.values("touched"), view.total("sold")
    most, seller = int(touched.argmax()), int(sold.argmax())
    defaults = view.total("defaulted_members")
    two = view.total("cover_2")
    return [
        Tile("Largest loss", money(float(view.lost[worst])), f"of {view.losers}, by the end: "
             f"{view.names[worst]}"),
        Tile("With nobody closed", money(float(view.values("lost_alone")[worst])),
             "the loss of the same scenario at its own prices, without a liquidation"),
        Tile("Largest shortfall", money(float(shortfall[short])),
             f"what accounts and vault lose over what accounts had: {view.names[short]}"
             if shortfall[short] > 0.0 else "no account loses more than it had",
             alarming=shortfall[short] > 0.0),
        Tile("Most accounts closed", exact(float(touched[most])), f"in part or whole: "
             f"{view.names[most]}"),
        Tile("Most sold", money(float(sold[seller])),
             f"notional closed on the market, purchases as much as sales: {view.names[seller]}"),
        Tile("Members in default", exact(float(defaults.max())),
             "whose accounts owe more than the member's contribution, in the scenario with most",
             alarming=bool(defaults.max() > 0)),
        Tile("Cover-2", money(float(two.max())),
             "what the two members with the most owe over their contributions, in one scenario: "
             f"{view.names[int(two.argmax())]}" if two.max() > 0.0
             else "no member's accounts owe more than its contribution"),
        _ended(view),
        _time(view),
    ]  # fmt: skip


def _ended(view: StressView) -> Tile:
    ended = int(view.values("ended").sum())
    return Tile(
        "Cascades at their end",
        f"{ended:,} of {len(view.names):,}",
        f"until less than {money(view.rules.cascade.least)} are sold in a round; at most "
        f"{int(view.values('rounds').max())} rounds of selling",
        alarming=ended < len(view.names),
    )


def _time(view: StressView) -> Tile:
    stages = view.manifest.get("stages") or []
    wall = sum(float(stage.get("wall_s") or 0.0) for stage in stages)
    peak = float(view.manifest.get("memory", {}).get("peak_total") or 0.0)
    return Tile(
        "Computed in",
        duration(wall) if stages else NOTHING,
        f"sum of the stages{f', peak memory {size(peak)}' if peak else ''}",
    )


def facts(view: StressView) -> list[tuple[str, str]]:
    """Return what the run was made of, for the head of the page."""
    inputs, rules = view.manifest["inputs"], view.rules
    depth = np.unique(view.depth)
    return [
        ("Margin run", str(inputs["run"]["run_id"])),
        ("Book", str(inputs["book"]["name"])),
        ("As of", instant(str(view.manifest["as_of"]))),
        ("Plan", f"{rules.name} {rules.version}"),
        ("Effective", f"{rules.effective.day} {rules.effective:%b %Y}"),
        ("Depth", " to ".join(dict.fromkeys((percent(depth[0]), percent(depth[-1]))))),
        ("Computed", instant(str(view.manifest["created"]))),
    ]
