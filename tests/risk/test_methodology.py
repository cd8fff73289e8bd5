"""A methodology is refused for what it cannot mean, and named by all that it says."""

import re
import tomllib
from importlib import resources

import pytest

from risk.methodology import Methodology, parse_methodology
from workers.methodologies import load_methodology, shipped_methodologies

SHIPPED = (resources.files("risk.methodologies") / "margincube-portfolio-2026-01.toml").read_text()


def test_the_shipped_one_says_what_the_method_page_says():
    found = parse_methodology(SHIPPED)
    assert found.netting.model_dump() == {
        "isolated": "position",
        "cross": "settlement_currency",
        "portfolio": "account",
    }
    base = found.measures[0]
    assert (base.kind, base.level, base.layer) == ("expected_shortfall", 0.975, "base")
    assert found.layers == ("base", "stress", "short_option")
    (short_option,) = found.charges
    assert (short_option.role, short_option.initial) == ("floor", 0.01)
    assert found.volatility_tenor.tenor().short_power == 0.30
    assert found.historical.holding_period_hours == 48


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "level = 0.975",
            "level = 97.5",
            r"LEVEL_RANGE: .*97.5 not in \(0, 1\); did you mean 0.97",
        ),
        ("level = 0.975", "level = 1.0", "LEVEL_RANGE"),
        ("level = 0.975", "levle = 0.975", "levle"),
        ("price_range = 0.16", "price_range = 16.0", "price_range"),
        ("[netting]", '[netting]\nhedge = "account"', "hedge"),
        ('cross = "settlement_currency"', 'cross = "currency"', "settlement_currency"),
        ("start = 2020-01-01T00:00:00Z", "start = 2020-01-01T00:00:00", "TZ_MISSING"),
        ("start = 2020-01-01T00:00:00Z", "start = 2030-01-01T00:00:00Z", "not before"),
        ('layer = "stress"', 'layer = "base"', "layer names"),
        ('layer = "base"\n', "", "'expected_shortfall', sets the base"),
        ('name = "value_at_risk"', 'name = "worst_loss"', "must differ"),
        ("initial = 0.01", "initial = 1.5", "initial 1.5 is more than the whole notional"),
        ("initial = 0.01", "initial = 0.001", "maintenance 0.008 is above initial"),
        ("maintenance_factor = 0.8\n", "", "maintenance_factor"),
        ("[grid]", "[lattice]", "lattice"),
        ("initial = 0.01", "initial = 0.01\nfloor = 3", "floor"),
        ("half_life_hours = 96.0", "half_life_hours = 0.0", "half_life"),
        ("buckets = 4", "buckets = 4.5", "buckets"),
        ("[grid]", "[grid", "Expected|expected"),
    ],
)
def test_what_a_methodology_cannot_mean_is_refused_by_name(old, new, message):
    assert old in SHIPPED
    with pytest.raises(ValueError, match=re.compile(message)):
        parse_methodology(SHIPPED.replace(old, new, 1))


def test_events_come_from_either_text_and_their_shocks_are_known():
    event = '[[events]]\nname = "e"\nlabel = "l"\n[events.shocks.price]\ndefault = -0.5\n'
    assert [one.name for one in parse_methodology(SHIPPED, event).events] == ["e"]
    assert [one.name for one in parse_methodology(SHIPPED + event).events] == ["e"]
    with pytest.raises(ValueError, match=r"event 'e': unknown shocks \['prize'\]"):
        parse_methodology(SHIPPED, event.replace("shocks.price", "shocks.prize"))


def test_a_methodology_is_frozen():
    found = parse_methodology(SHIPPED)
    with pytest.raises(ValueError, match="frozen"):
        found.name = "other"
    assert Methodology.model_validate(found.model_dump()) == found
    assert tomllib.loads(SHIPPED)["name"] == found.name


def test_the_digest_is_of_every_word(tmp_path):
    [name] = [one for one in shipped_methodologies() if one == "margincube-portfolio-2026-01"]
    shipped = load_methodology(name)
    same, other = tmp_path / "same.toml", tmp_path / "other.toml"
    same.write_text(SHIPPED)
    other.write_text(SHIPPED.replace("initial = 0.01", "initial = 0.011"))
    assert load_methodology(str(same)).digest == shipped.digest
    assert load_methodology(str(other)).digest != shipped.digest
    events = tmp_path / "events.toml"
    events.write_text("")
    assert load_methodology(name, str(events)).digest != shipped.digest
    assert load_methodology(name, str(events)).methodology.events == ()
    with pytest.raises(ValueError, match="no methodology 'nameless'; shipped are"):
        load_methodology("nameless")
