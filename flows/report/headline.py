"""The run in one paragraph and a dozen numbers."""

from typing import Any

import numpy as np

from flows.format import NOTHING, day, duration, exact, instant, money, percent, size
from flows.report.distribution import Tail
from flows.report.document import Tile
from flows.report.events import scenario_name, scenario_words, worst_told
from flows.report.members import layer_totals
from flows.report.view import RunView


def summary(view: RunView) -> str:
    """Return the run in one paragraph."""
    total = view.total
    parts = [
        f"{exact(total('margined'))} accounts must post {money(total('requirement'))} of margin "
        f"and hold {money(total('equity'))} of equity."
    ]
    short = int(total("accounts_short"))
    if short:
        has = "account falls" if short == 1 else "accounts fall"
        parts.append(f"{short:,} {has} short, by {money(total('shortfall'))} in all.")
    else:
        parts.append("No account falls short.")
    if _knows_maintenance(view):
        parts.append(
            f"To keep their positions it takes {money(total('maintenance'))}; {_below(view)}."
        )
    kind, worst = worst_told(view, view.per_scenario("loss"), 1)
    if len(worst):
        row = int(worst[0])
        loss = view.per_scenario("loss")[row]
        beyond = view.per_scenario("uncovered")[row]
        where = {
            "window": "In a repeat of the worst window of the history",
            "event": "In the worst named event",
            "scenario": "In the worst scenario of the rule book",
        }[kind]
        parts.append(
            f"{where} ({scenario_words(view, row)}) losing accounts would lose {money(loss)}"
            + (f", {money(beyond)} of it more than they own." if beyond > 0.0 else ".")
        )
    return " ".join(parts)


def _knows_maintenance(view: RunView) -> bool:
    """Tell whether the run stated what it takes to keep positions; an early one did not."""
    return "maintenance" in view.manifest.get("totals", {})


def _below(view: RunView) -> str:
    count = int(view.total("accounts_below_maintenance"))
    if not count:
        return "no account is below it"
    return "1 account is below it" if count == 1 else f"{count:,} accounts are below it"


def tiles(view: RunView, tail: Tail) -> list[Tile]:
    """Return the headline numbers."""
    total = view.total
    requirement = total("requirement")
    layers = [
        f"{percent(amount / requirement)} {name.lower()}"
        for name, amount in layer_totals(view)
        if requirement > 0.0 and amount > 0.0
    ]
    held = int(total("held"))
    short = int(total("accounts_short"))
    return [
        Tile(
            "Requirement",
            money(requirement),
            f"margin that all accounts must post: {', '.join(layers)}" if layers else "margin",
        ),
        *_maintenance(view),
        Tile(
            "Equity",
            money(total("equity")),
            "collateral as it counts plus the value of options and spot",
        ),
        Tile(
            "Shortfall",
            money(total("shortfall")),
            f"requirement beyond equity, over {short:,} accounts that fall short"
            if short
            else "every requirement is met by equity",
            alarming=short > 0,
        ),
        Tile(
            "Accounts",
            exact(total("accounts")),
            f"with {exact(total('positions'))} positions in {exact(total('instruments'))} "
            "instruments; "
            + (
                f"{exact(total('margined'))} margined, {held:,} held back for positions "
                "that are bad, unpriced or under no rule"
                if held
                else "all margined, none held back"
            ),
        ),
        _scenarios(view),
        *_worst(view, tail),
        *_concentration(view),
        _time(view),
    ]


def _maintenance(view: RunView) -> list[Tile]:
    if not _knows_maintenance(view):
        return []
    below = int(view.total("accounts_below_maintenance"))
    return [
        Tile(
            "Maintenance",
            money(view.total("maintenance")),
            f"what it takes to keep positions; {_below(view)}"
            + (", where liquidation begins" if below else ""),
            alarming=below > 0,
        )
    ]


def _scenarios(view: RunView) -> Tile:
    words = {
        "historical": "historical",
        "episode": "extremes of episodes",
        "grid": "on the grid",
        "scan": "of the rule book",
        "basis": "of the basis",
        "event": "named events",
    }
    counts = [
        f"{len(view.rows(key)):,} {name}" for key, name in words.items() if len(view.rows(key))
    ]
    beside = "" if view.splits_requirement else ", reported beside rules that need none"
    return Tile(
        "Scenarios", exact(float(view.folds.sizes["scenario"])), f"{', '.join(counts)}{beside}"
    )


def _worst(view: RunView, tail: Tail) -> list[Tile]:
    found = []
    uncovered = view.per_scenario("uncovered")
    rows = np.concatenate([view.rows("historical"), view.rows("event")])
    if len(rows):
        row = int(rows[int(np.argmax(uncovered[rows]))])
        beyond = float(uncovered[row])
        what = "historical window or event" if len(view.rows("historical")) else "named event"
        found.append(
            Tile(
                "Worst loss beyond equity",
                money(beyond),
                f"what the default waterfall would face: {scenario_name(view, row)}"
                if beyond > 0.0
                else f"no {what} costs anybody more than they own",
                alarming=beyond > 0.0,
            )
        )
    shortfall = [one for one in tail if one.measure.kind == "expected_shortfall"]
    if shortfall:
        one = shortfall[0]
        found.append(
            Tile(
                f"System loss, {one.name}",
                money(one.amount),
                f"average loss in the worst {one.beyond} of windows",
            )
        )
    return found


def _concentration(view: RunView) -> list[Tile]:
    names = [str(name) for name in view.folds["top_share"].values]
    shares = dict(zip(names, view.folds["concentration"].values, strict=True))
    if not shares.get("10"):
        return []
    meaning = "share of the requirement that ten accounts hold"
    return [Tile("Ten largest accounts", percent(float(shares["10"])), meaning)]


def _time(view: RunView) -> Tile:
    stages: list[dict[str, Any]] = view.manifest.get("stages") or []
    wall = sum(float(stage.get("wall_s") or 0.0) for stage in stages)
    return Tile(
        "Computed in",
        duration(wall) if stages else NOTHING,
        f"sum of the stages{_memory(view.manifest)}",
    )


def _memory(manifest: dict[str, Any]) -> str:
    if "memory" in manifest:
        peak, projected = (manifest["memory"][name] for name in ("peak_total", "projected_total"))
        return f", peak memory {size(float(peak))} of {size(float(projected))} projected"
    # An earlier version projected for one task alone, and kept the peak by itself.
    peak = manifest.get("peak_memory_bytes")
    return f", peak memory {size(float(peak))}" if peak else ""


def facts(view: RunView) -> list[tuple[str, str]]:
    """Return what the run was made of, for the head of the page."""
    inputs = view.manifest.get("inputs", {})
    book, market = inputs.get("book", {}), inputs.get("market", {})
    rules = inputs.get("methodology", {})
    named = [
        ("Book", _joined(book.get("name"), instant(str(book.get("as_of", ""))))),
        ("Market", _joined(market.get("name"), instant(str(market.get("as_of", ""))))),
        ("Methodology", _joined(rules.get("name"), rules.get("version"))),
        ("Effective", day(np.datetime64(rules["effective"])) if "effective" in rules else ""),
        ("Netting", _netting(view)),
        ("Computed", instant(str(view.manifest.get("created", "")))),
        ("Status", str(view.manifest.get("status", ""))),
    ]
    return [(name, value) for name, value in named if value]


def _netting(view: RunView) -> str:
    chosen = str(view.manifest.get("settings", {}).get("netting", "None"))
    return "" if chosen == "None" else f"every account {chosen}"


def standing(view: RunView) -> tuple[str, list[str]]:
    """Return what the run's numbers may be called, and all that is not verified of its rules."""
    rules = view.rule_book
    if "standing" not in rules:
        return "", []
    words = str(rules["standing"])
    ours = view.manifest.get("totals", {}).get("accounts_by_choice")
    if ours:
        words += (
            f". {exact(ours)} of {exact(view.total('margined'))} accounts hold a position for "
            "which the venue has no rule; a rule of ours is in its place"
        )
    doubts = [str(point) for point in rules["not_verified"]]
    if doubts:
        words += ". Not verified"
    return f"{words[:1].upper()}{words[1:]}{':' if doubts else '.'}", doubts


def _joined(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)
