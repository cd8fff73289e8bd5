"""Plans of a stress test: those that ship, and what a plan may not say."""

from importlib import resources

import pytest

from risk.systemic.plan import parse_stress_plan
from tests.workers.stressed import SMALL_PLAN
from workers.stress.request import load_plan, shipped_plans


@pytest.mark.parametrize("name", shipped_plans())
def test_every_plan_that_ships_says_where_it_is_from(name):
    plan = load_plan(name).plan
    assert name == f"{plan.name}-{plan.effective:%Y-%m}"
    assert plan.sources
    assert all(market.source for market in plan.markets)
    assert all(scenario.source for scenario in plan.scenarios)


def test_the_jump_differs_from_the_plan_in_steps_and_vault_alone():
    folder = resources.files("risk.methodologies") / "stress"
    plan, jump = (
        parse_stress_plan((folder / f"margincube-{name}-2026-01.toml").read_text())
        for name in ("stress", "jump")
    )
    assert (jump.cascade.steps, jump.liquidation.backstop) == (1, 0.0)
    assert plan.cascade.steps > 1
    assert plan.liquidation.backstop > 0.0
    same = {
        "name": plan.name,
        "title": plan.title,
        "sources": plan.sources,
        "liquidation": plan.liquidation,
        "cascade": plan.cascade,
        "approval": plan.approval,
    }
    assert jump.model_copy(update=same) == plan


def test_deleveraging_differs_from_the_plan_in_who_closes_alone():
    plan, other = (
        load_plan(f"margincube-{name}-2026-01").plan for name in ("stress", "deleveraging")
    )
    assert other.taken_at_bankruptcy
    assert [one.name for one in other.layers if one not in plan.layers] == ["auto_deleveraging"]
    names = ("name", "title", "sources", "not_verified", "deleveraging", "layers", "approval")
    same = {name: getattr(plan, name) for name in names}
    assert other.model_copy(update=same) == plan


DELEVERAGING = """
[deleveraging]
ranking = "zubr"
trigger = "at_backstop"
source = "made up"

"""

WINNERS = ("capped = false", 'resource = "deleveraging"')


def test_what_is_deleveraged_needs_a_vault_that_takes_it():
    text = SMALL_PLAN.replace("[impact]", DELEVERAGING + "[impact]").replace(*WINNERS)
    assert parse_stress_plan(text).taken_at_bankruptcy
    waits = text.replace("at_backstop", "vault_exhausted")
    assert not parse_stress_plan(waits).taken_at_bankruptcy
    with pytest.raises(ValueError, match="backstop is 0; deleveraging closes what is taken"):
        parse_stress_plan(text.replace("backstop = 0.6667", "backstop = 0.0"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 3", "steps = 25", "rounds is 25, steps 25; a cascade needs more rounds"),
        ("steps = 3", "steps = 0", "steps"),
        ("rounds = 25", "rounds = 1001", "rounds"),
        ("least = 1000.0", "least = -1.0", "least"),
        ("depth = 0.5", "depth = 0.0", "depth"),
        ("depth = 0.5", "depth = 50.0", "depth"),
        ("depth = 0.1", "depth = 1.1", "depth"),
        ("daily_volume = 20_000_000.0", "daily_volume = 0.0", "daily_volume"),
        ("daily_volatility = 0.025", "daily_volatility = -0.1", "daily_volatility"),
        ('coin = "ETH"', 'coin = "BTC"', "market 'BTC' is named twice"),
        ('name = "down"', 'name = "all quiet"', "scenario 'all quiet' is named twice"),
        ("default = -0.2", "default = -1.0", "'down': the price of default moves by -1; allowed"),
        (
            "[scenarios.shocks.price]\ndefault = -0.2",
            "[scenarios.shocks.weather]\ndefault = -0.2",
            r"'down': unknown shocks \['weather'\]; allowed are",
        ),
        ("times = [0.5, 1.5]", "times = []", "times"),
        ("times = [0.5, 1.5]", "times = [0.0]", "times"),
        ('origins = ["event"]', "origins = []", "origins"),
        ('closing = "to_target"', 'closing = "slowly"', "closing"),
        ("slice = 0.2", "slice = 0.0", "slice"),
        ("slice = 0.2", "target = 0.9", "target"),
        ("slice = 0.2", "fee = 1.5", "fee"),
        ("slice = 0.2", 'order = "riskiest"', "order is 'riskiest' and capacity None; give a cap"),
        ("slice = 0.2", "capacity = 0.1", "order is 'together' and capacity 0.1"),
        ("slice = 0.2", 'order = "loudest"', "order"),
        ("coefficient = 0.8", "coefficient = 0.0", "coefficient"),
        ("coefficient = 0.8", "exponent = 0.9", "exponent is 0.9; a power law has one from 0.4"),
        ("coefficient = 0.8", "strength = 0.8", "strength"),
        ("depth = 0.5", "depth = 0.5\nweather = 1", "weather"),
        ('payer = "venue"', 'payer = "venue"\nresource = "luck"', "'venue' draws on 'luck'; allow"),
        (
            "capped = false",
            "",
            "draws on 'socialised_loss'; allowed is .'deleveraging'., or no cap",
        ),
        ("capped = false", 'resource = "deleveraging"', r"'deleveraging'; give \[deleveraging\]"),
        ("[impact]", DELEVERAGING + "[impact]", "0 layers draw on 'deleveraging'; give one"),
        ("[impact]", DELEVERAGING.replace("zubr", "luck") + "[impact]", "ranking is 'luck'; allow"),
        ("[impact]", DELEVERAGING.replace("at_b", "b") + "[impact]", "trigger"),
        ("[impact]", "[maintenance]\nscan = 0.1\n[impact]", "minimum"),
        ('payer = "defaulter"', 'payer = "survivors"', "exactly one layer is paid by the 'default"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(old, new, message):
    assert SMALL_PLAN.count(old) == 1 or old.endswith('"ETH"')
    with pytest.raises(ValueError, match=message):
        parse_stress_plan(SMALL_PLAN.replace(old, new, 1))


def test_what_is_no_toml_is_refused():
    with pytest.raises(ValueError, match="Expected"):
        parse_stress_plan("depth is a half")
