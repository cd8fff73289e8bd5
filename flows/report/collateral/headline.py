"""The pool in one paragraph and the numbers that matter most."""

import numpy as np

from flows.format import NOTHING, duration, exact, instant, money, percent, size
from flows.report.collateral.view import PoolView
from flows.report.document import Tile
from risk.claims.tokens import Outcome


def summary(view: PoolView) -> str:
    """Return the run in one paragraph."""
    total = view.total
    below, alone = int(total("below")), int(total("below_alone"))
    parts = [
        f"{exact(total('pooled'))} accounts hold claims that would fetch {money(total('value'))} "
        f"after what they owe, and count for {money(total('credit'))}.",
        f"Their positions alone require {money(total('requirement_alone'))}; with the collateral "
        f"inside the scenarios they require {money(total('requirement'))}.",
        f"{_accounts(below)} below the requirement, by {money(total('shortfall'))} in all; with "
        f"collateral at a fixed haircut it would be {alone:,}, by "
        f"{money(total('shortfall_alone'))}.",
    ]
    worst = _worst_failure(view)
    if worst:
        title, lost, share = worst
        parts.append(
            f"Of the named failures one costs the most credit, {money(lost)} or {percent(share)} "
            f"of all: {title}."
        )
    return " ".join(parts)


def _accounts(count: int) -> str:
    return "1 account is" if count == 1 else f"{count:,} accounts are" if count else "No account is"


def _worst_failure(view: PoolView) -> tuple[str, float, float] | None:
    credit = view.amounts("chain_credit").sum(axis=0)
    lost = credit[0] - credit[1:]
    if not len(lost) or lost.max() <= 0.0:
        return None
    row = int(np.argmax(lost))
    return view.failures[row], float(lost[row]), float(lost[row] / credit[0])


def tiles(view: PoolView) -> list[Tile]:
    """Return the headline numbers."""
    total = view.total
    value, credit = total("value"), total("credit")
    kept = f", {percent(credit / value)} of it" if value > 0.0 else ""
    rise = total("requirement") - total("requirement_alone")
    below, alone = int(total("below")), int(total("below_alone"))
    return [
        Tile(
            "Pool at mark",
            money(value),
            "what all claims that count would fetch now, less what is owed against them",
        ),
        Tile(
            "Credit",
            money(credit),
            f"what the pool counts for now{kept}, after haircuts, caps and what lending markets "
            "claim first",
        ),
        Tile(
            "Requirement",
            money(total("requirement")),
            "worst weighted loss of positions and of credit together: collateral inside the "
            "scenarios",
        ),
        Tile(
            "Positions alone",
            money(total("requirement_alone")),
            "the same scenarios with collateral at a fixed haircut: "
            + (f"{money(abs(rise))} {'less' if rise > 0.0 else 'more'}" if rise else "as much"),
        ),
        Tile(
            "Shortfall",
            money(total("shortfall")),
            "requirement beyond credit and position value, over the accounts below it; "
            f"{money(total('shortfall_alone'))} at a fixed haircut",
            alarming=below > 0,
        ),
        Tile(
            "Accounts below",
            exact(below),
            f"of {exact(total('pooled'))}, with collateral inside the scenarios; {alone:,} at a "
            f"fixed haircut{_held(int(total('held')))}",
            alarming=below > 0,
        ),
        _standing(view),
        _withheld(view),
        _time(view),
    ]


def _held(count: int) -> str:
    if not count:
        return ""
    return (
        f". {count:,} more are held back for a row that is bad, has no price, or lies outside of "
        "the lending market of its token"
    )


def _standing(view: PoolView) -> Tile:
    credit = view.amounts("credit_by_standing")
    names = [str(name) for name in view.totals["standing"].values]
    whole = float(credit.sum())
    shares = [percent(float(amount) / whole) if whole > 0.0 else NOTHING for amount in credit]
    rest = ", ".join(f"{share} {name}" for name, share in zip(names[1:], shares[1:], strict=True))
    return Tile(f"Credit that is {names[0]}", shares[0], f"by a proof against a root; {rest}")


def _withheld(view: PoolView) -> Tile:
    value, claims = view.amounts("value_by_outcome"), view.amounts("claims_by_outcome")
    return Tile(
        "Value that does not count",
        money(float(np.delete(value, Outcome.COUNTED).sum())),
        f"{exact(float(np.delete(claims, Outcome.COUNTED).sum()))} of "
        f"{exact(view.total('claims'))} claims have a reason why they do not count",
    )


def _time(view: PoolView) -> Tile:
    stages = view.manifest.get("stages") or []
    wall = sum(float(stage.get("wall_s") or 0.0) for stage in stages)
    peak = float(view.manifest.get("memory", {}).get("peak_total") or 0.0)
    return Tile(
        "Computed in",
        duration(wall) if stages else NOTHING,
        f"sum of the stages{f', peak memory {size(peak)}' if peak else ''}; "
        f"{exact(view.total('scenarios'))} scenarios, {exact(view.total('tokens'))} tokens",
    )


def facts(view: PoolView) -> list[tuple[str, str]]:
    """Return what the run was made of, for the head of the page."""
    inputs, rules = view.manifest["inputs"], view.rules
    return [
        ("Margin run", str(inputs["run"]["run_id"])),
        ("Book", str(inputs["book"]["name"])),
        ("Claims", str(inputs["claims"]["name"])),
        ("As of", instant(str(view.manifest["as_of"]))),
        ("Rules", f"{rules.name} {rules.version}"),
        ("Effective", f"{rules.effective.day} {rules.effective:%b %Y}"),
        ("Computed", instant(str(view.manifest["created"]))),
    ]
