"""The run in one paragraph and a dozen numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.format import NOTHING, duration, exact, instant, money, percent, size
from flows.report.distribution import EXPECTED_SHORTFALL_LEVEL, Tail
from flows.report.events import scenario_name, scenario_words, separate_worst
from flows.report.members import layer_totals
from flows.report.view import RunView


@dataclass(frozen=True, slots=True)
class Tile:
    """One number with its name and what it means."""

    name: str
    value: str
    meaning: str
    alarming: bool = False


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
    worst = separate_worst(view, view.per_scenario("loss"), 1)
    if len(worst):
        row = int(worst[0])
        loss = view.per_scenario("loss")[row]
        beyond = view.per_scenario("uncovered")[row]
        parts.append(
            f"In a repeat of the worst window of the history ({scenario_words(view, row)}) losing "
            f"accounts would lose {money(loss)}"
            + (f", {money(beyond)} of it more than they own." if beyond > 0.0 else ".")
        )
    return " ".join(parts)


def tiles(view: RunView, tail: Tail | None) -> list[Tile]:
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
        Tile(
            "Equity",
            money(total("equity")),
            "collateral after haircuts plus the value of options and spot",
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
            f"{exact(total('margined'))} margined, {held:,} held back for bad or unpriced positions"
            if held
            else "all margined, none held back",
        ),
        Tile(
            "Positions",
            exact(total("positions")),
            f"in {exact(total('instruments'))} instruments, revalued in full",
        ),
        _scenarios(view),
        *_worst(view, tail),
        *_concentration(view),
        _time(view),
    ]


def _scenarios(view: RunView) -> Tile:
    words = {
        "historical": "historical",
        "episode": "extremes of episodes",
        "stressed": "of a period of stress",
        "grid": "on the grid",
        "event": "named events",
    }
    counts = [
        f"{len(view.rows(key)):,} {name}" for key, name in words.items() if len(view.rows(key))
    ]
    return Tile("Scenarios", exact(float(view.folds.sizes["scenario"])), ", ".join(counts))


def _worst(view: RunView, tail: Tail | None) -> list[Tile]:
    found = []
    uncovered = view.per_scenario("uncovered")
    rows = np.concatenate([view.rows("historical"), view.rows("event")])
    if len(rows):
        row = int(rows[int(np.argmax(uncovered[rows]))])
        beyond = float(uncovered[row])
        found.append(
            Tile(
                "Worst loss beyond equity",
                money(beyond),
                f"what the default waterfall would face: {scenario_name(view, row)}"
                if beyond > 0.0
                else "no historical window or event costs anybody more than they own",
                alarming=beyond > 0.0,
            )
        )
    if tail is not None:
        found.append(
            Tile(
                f"System loss, ES {percent(EXPECTED_SHORTFALL_LEVEL)}",
                money(tail.expected_shortfall),
                f"average loss in the worst {percent(1 - EXPECTED_SHORTFALL_LEVEL)} of windows",
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
    peak = view.manifest.get("peak_memory_bytes")
    memory = f", peak memory {size(float(peak))}" if peak else ""
    return Tile("Computed in", duration(wall) if stages else NOTHING, f"sum of the stages{memory}")


def facts(view: RunView) -> list[tuple[str, str]]:
    """Return what the run was made of, for the head of the page."""
    inputs = view.manifest.get("inputs", {})
    book, market = inputs.get("book", {}), inputs.get("market", {})
    rules = inputs.get("methodology", {})
    named = [
        ("Book", _joined(book.get("name"), instant(str(book.get("as_of", ""))))),
        ("Market", _joined(market.get("name"), instant(str(market.get("as_of", ""))))),
        ("Methodology", _joined(rules.get("name"), rules.get("version"))),
        ("Computed", instant(str(view.manifest.get("created", "")))),
        ("Status", str(view.manifest.get("status", ""))),
    ]
    return [(name, value) for name, value in named if value]


def _joined(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)
