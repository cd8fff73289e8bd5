"""What the numbers rest on: what is real, what is generated, what is assumed."""

from flows.format import money, percent
from flows.report.picture import Table
from flows.report.stress.view import StressView
from risk.systemic.cascade import LiquidationRules
from risk.systemic.requirement import MaintenanceRules
from risk.systemic.winners import DeleveragingRules

CLOSING = {
    "all": "the whole account at once",
    "slice": "a slice in every round",
    "to_target": "as much as brings equity back to its target, at least a slice",
}

ORDERS = {"largest_deficit": "the largest deficit", "riskiest": "the riskiest"}


def basis(view: StressView) -> Table:
    """Return every part that the numbers are made of, and where it is from."""
    rules = view.rules
    rows = [
        ("Prices of episodes", "real", "hourly closes of the market that the margin run names"),
        (
            "Accounts and positions",
            "given",
            f"book {view.manifest['inputs']['book']['name']}; generated where it was made by "
            "`margincube book generate`",
        ),
        *(
            (f"Volume and volatility of {one.coin}", "measured", _market(one.daily_volume,
             one.daily_volatility, one.source))
            for one in rules.markets
        ),
        ("Law of impact", "assumed", _impact(view)),
        ("Depth under stress", "assumed", f"{percent(rules.depth)} of daily volume, unless a "
         "scenario says another"),
        ("How accounts are closed", "assumed", _closing(rules.liquidation)),
        ("How a shock arrives", "assumed", f"in {rules.cascade.steps} equal steps of logarithms, "
         "with a round of selling after each" if rules.cascade.steps > 1
         else "as a jump, before anybody is closed"),
        ("Maintenance", "assumed", _maintenance(rules.maintenance)),
        ("Auto-deleveraging", "assumed", _deleveraging(rules.deleveraging)),
        *(
            (f"What breaks in {name}", "assumed", words)
            for name, words in view.broken.items()
        ),
        ("Insurance fund", "assumed", money(rules.insurance_fund)),
        ("Own capital", "assumed", money(rules.own_capital)),
    ]  # fmt: skip
    return Table(
        title="Real, measured, assumed",
        caption="What these numbers are made of. A result is no better than its weakest part.",
        columns=("Part", "Is", "What it is"),
        rows=rows,
        text_columns=(0, 1, 2),
        wide=True,
    )


def _market(volume: float, volatility: float, source: str) -> str:
    return f"{money(volume)} and {percent(volatility)} a day. {source}"


def _impact(view: StressView) -> str:
    law = view.rules.impact
    return (
        f"log price moves by {law.coefficient:g} times daily volatility times (sold / volume that "
        f"is there) to the power {law.power:g}. {law.source}"
    )


def _maintenance(rules: MaintenanceRules | None) -> str:
    part = "that of the margin run, in proportion to what an account still holds"
    if rules is None:
        return part
    return (
        f"{part}, and to the worst loss of what it holds, contract by contract, when coins move "
        f"by {percent(rules.scan)} from the prices of the round, at least "
        f"{percent(rules.minimum)} of notional. {rules.source}"
    )


def _deleveraging(rules: DeleveragingRules | None) -> str:
    if rules is None:
        return "none"
    when = {
        "at_backstop": "who falls below the backstop is closed against winners",
        "vault_exhausted": "a vault that lost more than the insurance fund is closed against "
        "winners",
    }
    return (
        f"{when[rules.trigger]}, at the end, by the ranking {rules.ranking}; together they give up "
        f"no more, net, than what was taken over lacks in all. {rules.source}"
    )


def _closing(rules: LiquidationRules) -> str:
    vault = (
        f"below {percent(rules.backstop)} of maintenance the vault takes all of it"
        if rules.backstop > 0.0
        else "no vault"
    )
    order = ""
    if rules.capacity is not None:
        order = (
            f"; {ORDERS[rules.order]} first, and a round takes {percent(rules.capacity)} of the "
            "volume that is there"
        )
    return f"{CLOSING[rules.closing]}; fee {percent(rules.fee)} of notional; {vault}{order}"


def sources(view: StressView) -> Table:
    """Return where the plan and its own scenarios are from."""
    rows = [("Plan", one) for one in view.rules.sources]
    rows += [(one.name, f"{one.title}. {one.source}") for one in view.rules.scenarios]
    return Table(
        title="Sources of the plan",
        caption="Of the plan, and of each scenario that is its own.",
        columns=("What", "Source"),
        rows=rows,
        text_columns=(0, 1),
        wide=True,
        folded=True,
    )
