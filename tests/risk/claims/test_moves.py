"""Plans of moves: against every plan there is, a greedy one, hand-made cases, and tampering."""

import itertools
import re
import tomllib
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risk.claims.moves import (
    MoveProblem,
    PlanRefused,
    cheapest_plan,
    costs_of,
    frontier,
    quickest_plan,
    verify_plan,
)
from risk.claims.moves.network import WAIT, move_network
from tests.risk.claims.move_problems import random_problem

GUIDE = Path(__file__).parents[3] / "docs" / "moves.md"
SETTINGS = settings(deadline=None, max_examples=40)


def token(name, price=1, decimals=6, **more):
    return {"name": name, "decimals": decimals, "price": price, **more}


def route(name, origin, destination, carries=("USDC", "USDC"), seconds=60, **more):
    ends = {"origin": origin, "destination": destination}
    return {"name": name, **ends, "carries": dict([carries]), "seconds": seconds, **more}


def required(amount, venue="venue", due=3_600, credit=None, **more):
    return {"venue": venue, "amount": amount, "due": due, "credit": credit or {"USDC": 1}, **more}


def problem(**parts):
    whole = {
        "tokens": [token("USDC")],
        "sources": [{"token": "USDC", "place": "vault", "quantity": 1_000}],
        "routes": [route("send", "vault", "venue")],
        "requirements": [required(100)],
    }
    return MoveProblem.model_validate(whole | parts)


def limits(plan):
    return {(limit.kind, limit.name): limit.worth for limit in plan.limits}


# Tiny instances against every plan there is.


@st.composite
def tiny(draw):
    """Whole tokens in single hops to two venues, with fixed fees and caps."""
    tokens = [token("A", draw(st.integers(1, 3)), 0), token("B", draw(st.integers(1, 3)), 0)]
    sources = [
        {"token": name, "place": place, "quantity": draw(st.integers(0, 3))}
        for name in "AB"
        for place in ("p", "x")
    ]
    routes = [
        route(
            f"r{row}",
            draw(st.sampled_from("px")),
            "y" if row else draw(st.sampled_from("xy")),
            (name := draw(st.sampled_from("AB")), name),
            draw(st.sampled_from([10, 20])),
            fee=draw(st.integers(0, 4)),
            lot=draw(st.integers(1, 2)),
            minimum=draw(st.integers(0, 2)),
            capacity=draw(st.none() | st.integers(0, 8)),
        )
        for row in range(3)
    ]
    routes = [one for one in routes if one["origin"] != one["destination"]]
    credit = {"A": draw(st.integers(0, 3)), "B": draw(st.integers(1, 3))}
    requirements = [
        required(draw(st.integers(0, 8)), venue, draw(st.sampled_from([15, 30])), credit)
        for venue in "xy"
    ]
    return problem(tokens=tokens, sources=sources, routes=routes, requirements=requirements)


def every_cost(of):
    """What each plan of single transfers costs that meets everything in time."""
    for sent in itertools.product(range(4), repeat=len(of.routes)):
        balance, cost, good = dict(of.held()), Fraction(0), True
        arrived = {}
        for way, units in zip(of.routes, sent, strict=True):
            if not units:
                continue
            (name,) = way.carries
            value = units * of.token[name].price
            good &= units >= way.minimum and units % way.lot == 0
            good &= way.capacity is None or value <= way.capacity
            balance[name, way.origin] = balance.get((name, way.origin), 0) - units
            cost += Fraction(way.fee)
            if way.seconds <= of.requirement[way.destination].due:
                key = name, way.destination
                arrived[key] = arrived.get(key, 0) + units
        # What arrives may go on only later, so nothing that arrives pays for what leaves.
        good &= min(balance.values(), default=0) >= 0
        for one in of.requirements:
            there = sum(
                (balance.get((name, one.venue), 0) + arrived.get((name, one.venue), 0)) * each
                for name, each in one.credit.items()
            )
            good &= there >= one.amount
        if good:
            yield cost


def single_hops(of):
    """Whether nothing that arrives can travel on."""
    arriving = {(way.destination, *way.carries.values()) for way in of.routes}
    return not any((way.origin, *way.carries) in arriving for way in of.routes)


@SETTINGS
@given(tiny().filter(single_hops))
def test_the_cheapest_of_every_plan_is_found(of):
    every = list(every_cost(of))
    plan = cheapest_plan(of)
    assert plan.met == bool(every)
    if every:
        assert plan.costs.total == min(every)


# Random instances.


SMALL = st.integers(0, 10_000)


def small(seed, **more):
    size = {"sources": 30, "venues": 4, "routes": 14, "tokens": 4, "places": 5, "tightness": 0.2}
    return random_problem(seed, **(size | more))


def greedy(of):
    """The cost of sending over one direct route after another, cheapest credit first."""
    balance, cost = dict(of.held()), Fraction(0)
    room = {way.name: Fraction(way.capacity) for way in of.routes}
    for one in of.requirements:
        missing = Fraction(one.amount) - sum(
            balance.get((name, one.venue), 0) * Fraction(each) / of.token[name].units
            for name, each in one.credit.items()
        )
        ways = [
            (way, name)
            for way in of.routes
            for name in way.carries
            if way.destination == one.venue and way.seconds <= one.due and name in one.credit
        ]
        ways.sort(key=lambda pair: (pair[0].fee_share, pair[0].fee))
        for way, name in ways:
            kept = 1 - Fraction(way.fee_share)
            each = Fraction(one.credit[name]) * kept / of.token[name].units
            there, unit = balance.get((name, way.origin), 0), of.token[name].unit_price
            units = min(there, room[way.name] // unit, -(-missing // each))
            if missing <= 0 or units <= 0:
                continue
            balance[name, way.origin] -= units
            room[way.name] -= units * unit
            missing -= units * each
            delay = Fraction(of.delay_cost) * way.seconds / (365 * 86_400)
            cost += Fraction(way.fee) + units * unit * (Fraction(way.fee_share) + delay)
        if missing > 0:
            return None
    return cost


@SETTINGS
@example(108, 0.0)  # two fifths of a unit short, of more than 10^9 units
@given(SMALL, st.sampled_from([0.0, 20.0]))
def test_no_greedy_plan_is_cheaper(seed, fixed):
    of = small(seed, fixed=fixed)
    cost, plan = greedy(of), cheapest_plan(of)
    if cost is not None:
        assert plan.met
        # Rounding up a transfer costs less than a unit of each token; the search stops at its gap.
        assert plan.costs.total <= cost * Fraction(1 + 2e-4) + Fraction(1, 100)


@SETTINGS
@given(SMALL, st.booleans(), st.floats(0.05, 0.9))
def test_value_is_conserved_and_no_balance_is_negative(seed, lots, tightness):
    of = small(seed, fixed=5.0, lots=lots, tightness=tightness)
    plan = cheapest_plan(of)
    balance = {key: [(0, units)] for key, units in of.held().items()}
    withheld = {one.name: Fraction(0) for one in of.tokens}
    for move in plan.moves:
        way = of.route[move.route]
        balance.setdefault((move.token, way.origin), []).append((move.departs, -move.sent))
        balance.setdefault((move.arriving, way.destination), []).append(
            (move.arrives, move.received)
        )
        withheld[move.token] += move.sent - move.received
        assert 0 <= move.sent * (1 - Fraction(way.fee_share)) - move.received < 1
    for changes in balance.values():
        running = 0
        for _, group in itertools.groupby(sorted(changes), key=lambda change: change[0]):
            running += sum(units for _, units in group)
            assert running >= 0
    for name, lost in withheld.items():
        before = sum(units for (at, _), units in of.held().items() if at == name)
        after = sum(units for (at, _), all_ in balance.items() if at == name for _, units in all_)
        assert before - after == lost
    for one in of.requirements:
        counted = sum(amount for (venue, _), amount in plan.counted.items() if venue == one.venue)
        assert counted + plan.unmet[one.venue] == one.amount


@SETTINGS
@given(SMALL)
def test_what_one_more_dollar_costs_lies_between_the_slopes(seed):
    of = small(seed)
    venue = of.requirements[0].venue
    plan = cheapest_plan(of)
    if not plan.met or of.requirements[0].amount < 10:
        return

    def cost(more):
        whole = of.model_dump(exclude_none=True)
        whole["requirements"][0]["amount"] += more
        found = cheapest_plan(MoveProblem.model_validate(whole))
        return float(found.costs.total) if found.met else float("inf")

    worth = limits(plan).get(("requirement", venue), 0.0)
    here = float(plan.costs.total)
    assert here - cost(-1) <= worth + 1e-4
    assert worth <= cost(1) - here + 1e-4


@SETTINGS
@given(SMALL, st.sampled_from([0.0, 20.0]))
def test_a_frontier_falls_from_cheap_to_quick(seed, fixed):
    of = small(seed, fixed=fixed)
    plans = frontier(of)
    quickest = quickest_plan(of)
    assert plans[-1].seconds == quickest.seconds
    for slower, quicker in itertools.pairwise(plans):
        assert slower.seconds > quicker.seconds
        assert slower.costs.total < quicker.costs.total


# By hand.


def test_what_lies_at_a_venue_counts_without_a_move():
    of = problem(sources=[{"token": "USDC", "place": "venue", "quantity": "100"}])
    plan = cheapest_plan(of)
    assert (plan.moves, plan.met, plan.costs.total, plan.seconds) == ((), True, 0, 0)


def test_a_transfer_that_must_be_whole_is_rounded_up_and_arrives_rounded_down():
    """A tenth of three whole tokens: 3 leave, 2.7 would arrive, 2 do."""
    of = problem(
        tokens=[token("GEM", 50, 0)],
        sources=[{"token": "GEM", "place": "vault", "quantity": 9}],
        routes=[route("send", "vault", "venue", ("GEM", "GEM"), fee_share="0.1")],
        requirements=[required(100, credit={"GEM": 50})],
    )
    (move,) = cheapest_plan(of).moves
    assert (move.sent, move.received) == (3, 2)


def test_a_bridged_token_is_another_token_with_its_own_decimals_and_credit():
    of = problem(
        tokens=[token("USDC"), token("USDC.hop", decimals=18, bridge="hop")],
        routes=[route("hop", "vault", "venue", ("USDC", "USDC.hop"), bridge="hop")],
        bridges=[{"name": "hop"}],
        requirements=[required(100, credit={"USDC": 1, "USDC.hop": "0.8"})],
    )
    plan = cheapest_plan(of)
    (move,) = plan.moves
    assert (move.sent, move.arriving, move.received) == (125_000_000, "USDC.hop", 125 * 10**18)
    assert plan.counted == {("venue", "USDC.hop"): 100}


def test_what_comes_later_is_waited_for_where_one_transfer_is_cheaper():
    """Two withdrawals meet on a chain; the fee of the bridge is paid once."""
    of = problem(
        sources=[
            {"token": "USDC", "place": "chain", "quantity": 50},
            {"token": "USDC", "place": "vault", "quantity": 50},
        ],
        routes=[
            route("withdraw", "vault", "chain", seconds=100, fee=1),
            route("deposit", "chain", "venue", seconds=10, fee=7),
        ],
    )
    plan = cheapest_plan(of)
    assert [(move.route, move.departs) for move in plan.moves] == [
        ("withdraw", 0),
        ("deposit", 100),
    ]
    assert plan.costs.total == 8
    assert any(arc.route == WAIT for arc in move_network(of).arcs)


def test_cheap_is_slow_and_quick_is_dear():
    """100 due: free in an hour, 5 for each transfer in ten minutes, 1 % within a minute."""
    of = problem(
        routes=[
            route("slow", "vault", "venue", seconds=3_600),
            route("middle", "vault", "venue", seconds=600, fee=5),
            route("quick", "vault", "venue", seconds=60, fee_share="0.2"),
        ],
    )
    plans = frontier(of)
    assert [(plan.seconds, float(plan.costs.total)) for plan in plans] == [
        (3_600, 0.0),
        (600, 5.0),
        (60, 25.0),
    ]
    assert quickest_plan(of) == plans[-1]


def test_delay_has_a_price():
    """A year's cost of 365 is 1 a day: 100 for a day cost 100, for a tenth of it 10 and a fee."""
    slow, quick = (route(name, "vault", "venue", seconds=s) for name, s in SPEEDS)
    due = [required(100, due=86_400)]
    free = problem(routes=[slow, quick | {"fee": 20}], requirements=due)
    dear = problem(routes=[slow, quick | {"fee": 20}], requirements=due, delay_cost=365)
    assert [move.route for move in cheapest_plan(free).moves] == ["slow"]
    plan = cheapest_plan(dear)
    assert [move.route for move in plan.moves] == ["quick"]
    assert (plan.costs.fixed, plan.costs.delay) == (20, 10)


SPEEDS = (("slow", 86_400), ("quick", 8_640))


def test_dual_prices_are_shown():
    """The cheap route takes 60 at 1 %; the rest is dear at 3 %."""
    of = problem(
        routes=[
            route("cheap", "vault", "venue", fee_share="0.01", capacity=60),
            route("dear", "vault", "venue", fee_share="0.03"),
        ]
    )
    plan = cheapest_plan(of)
    worth = limits(plan)
    # A dollar more needs 1/0.97 sent dearly; a dollar more of the cheap route saves 0.99 of that.
    assert worth["requirement", "venue"] == pytest.approx(0.03 / 0.97, abs=1e-7)
    assert worth["capacity", "cheap"] == pytest.approx(0.03 * 0.99 / 0.97 - 0.01, abs=1e-7)


# What cannot be met says by how much, and why.


HOP = {"tokens": [token("USDC"), token("USDC.hop", bridge="hop")], "bridges": [{"name": "hop"}]}
HOPS = [route("hop", "vault", "venue", ("USDC", "USDC.hop"), bridge="hop")]
ON_HOP = [required(100, credit={"USDC.hop": 1})]


@pytest.mark.parametrize(
    ("parts", "unmet", "binds"),
    [
        ({"sources": [{"token": "USDC", "place": "vault", "quantity": 70}]}, 30,
         ("source", "USDC at vault")),
        ({"routes": [route("send", "vault", "venue", capacity=60)]}, 40, ("capacity", "send")),
        (HOP | {"routes": HOPS, "requirements": ON_HOP,
                "bridges": [{"name": "hop", "most_moved": 45}]}, 55, ("moved", "hop")),
        (HOP | {"routes": HOPS, "requirements": ON_HOP,
                "bridges": [{"name": "hop", "most_counted": 35}]}, 65, ("counted", "hop")),
        ({"requirements": [required(100, most_share="0.25")]}, 75, ("share", "USDC at venue")),
    ],
)  # fmt: skip
def test_what_binds_is_named(parts, unmet, binds):
    plan = cheapest_plan(problem(**parts))
    assert float(plan.unmet["venue"]) == pytest.approx(unmet, abs=1e-5)
    assert limits(plan)[binds] == pytest.approx(1.0, abs=1e-5)
    assert plan.deadlines == ()


def test_a_source_that_is_used_up_binds_whatever_fee_its_route_takes():
    """The example of the guide, with ten times the requirement: all dollars leave the treasury."""
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    asked = text.replace("amount = 160000", "amount = 1600000")
    of = MoveProblem.model_validate(tomllib.loads(asked, parse_float=Decimal))
    plan = cheapest_plan(of)
    sent = sum(move.sent for move in plan.moves if move.token == "USDC.ethereum")
    assert sent == 400_000 * 10**6
    worth = limits(plan)
    assert worth["source", "USDC.ethereum at treasury"] == pytest.approx(1.0, abs=1e-5)
    assert worth["source", "USDC.arbitrum at perpetuals"] == pytest.approx(1.0, abs=1e-5)
    assert ("source", "ETH.ethereum at treasury") not in worth


def test_a_deadline_that_binds_is_named_with_when_it_would_be_met():
    of = problem(
        routes=[route("slow", "vault", "venue", seconds=7_200)], requirements=[required(100)]
    )
    plan = cheapest_plan(of)
    (deadline,) = plan.deadlines
    assert plan.moves == ()
    assert plan.unmet == {"venue": 100}
    assert (deadline.venue, deadline.released, deadline.seconds) == ("venue", 100, 7_200)
    assert frontier(of) == [replace(plan)]
    assert not quickest_plan(of).met


def test_without_any_route_everything_is_unmet():
    sources = [{"token": "USDC", "place": place, "quantity": 0} for place in ("vault", "venue")]
    plan = cheapest_plan(problem(routes=[], sources=sources))
    assert (plan.moves, plan.unmet, plan.limits) == ((), {"venue": 100}, plan.limits)
    assert plan.deadlines == ()


def test_a_minimum_above_what_is_there_is_no_transfer():
    plan = cheapest_plan(problem(routes=[route("send", "vault", "venue", minimum=1_001)]))
    assert plan.unmet == {"venue": 100}


def test_concentration_is_counted_by_asset_over_its_bridges():
    """Half may rest on dollars, whatever bridge they came over."""
    of = problem(
        tokens=[
            token("USDC", asset="dollar"),
            token("USDC.hop", asset="dollar"),
            token("ETH", 2_000, 18),
        ],
        sources=[
            {"token": "USDC", "place": "venue", "quantity": 80},
            {"token": "USDC.hop", "place": "venue", "quantity": 80},
            {"token": "ETH", "place": "venue", "quantity": "0.02"},
        ],
        routes=[],
        requirements=[
            required(100, credit={"USDC": 1, "USDC.hop": 1, "ETH": 2_000}, most_share="0.5")
        ],
    )
    plan = cheapest_plan(of)
    assert plan.unmet == {"venue": 10}
    assert plan.counted["venue", "ETH"] == 40
    assert plan.counted["venue", "USDC"] + plan.counted.get(("venue", "USDC.hop"), 0) == 50


# Verification believes nothing.


def verified():
    of = problem(
        tokens=[token("USDC"), token("USDC.hop", bridge="hop")],
        routes=[
            route("hop", "vault", "venue", ("USDC", "USDC.hop"), bridge="hop", capacity=150, lot=1),
        ],
        bridges=[{"name": "hop", "most_moved": 140, "most_counted": 120}],
        requirements=[required(100, credit={"USDC.hop": 1}, most_share=1)],
    )
    return of, cheapest_plan(of)


def of_move(**change):
    def changed(of, plan):
        moves = (replace(plan.moves[0], **change),)
        return replace(plan, moves=moves, costs=costs_of(of, moves))

    return changed


ON = ("venue", "USDC.hop")


@pytest.mark.parametrize(
    ("tampered", "sentence"),
    [
        (of_move(received=100_000_001), "more than the fee leaves"),
        (of_move(received=99_000_000), "is 0.00 short|venue counts 100.00 of USDC.hop, of 99.00"),
        (of_move(sent=99_500_000), "not whole lots|more than the fee leaves"),
        (of_move(sent=0), "less than the minimum"),
        (of_move(arrives=59), "takes 60 s, not 59"),
        (of_move(departs=-1, arrives=59), "takes 60 s"),
        (of_move(arriving="USDC"), "delivers USDC.hop, not USDC"),
        (of_move(departs=3_590, arrives=3_650), "counts 100.00 of USDC.hop, of 0.00"),
        (of_move(sent=145_000_000), "more than 140 crosses bridge hop"),
        (of_move(sent=155_000_000), "route hop takes 150, not 155"),
        (of_move(sent=1_001_000_000), "falls 1000000 units below nothing"),
        (lambda of, plan: replace(plan, moves=()), "its costs are not|of 0.00"),
        (lambda of, plan: replace(plan, counted={ON: Fraction(99)}), "1.00 short"),
        (lambda of, plan: replace(plan, counted={ON: Fraction(101)}), "in USDC.hop"),
        (lambda of, plan: replace(plan, unmet={"venue": Fraction(1)}), "said to be 1.00"),
        (lambda of, plan: replace(plan, costs=replace(plan.costs, fixed=Fraction(1))), "its costs"),
    ],
)
def test_tampering_is_refused(tampered, sentence):
    of, plan = verified()
    verify_plan(of, plan)
    with pytest.raises(PlanRefused, match=sentence):
        verify_plan(of, tampered(of, plan))


def test_a_bridge_that_counts_too_much_is_refused():
    of, plan = verified()
    tight = of.model_dump(exclude_none=True)
    tight["bridges"][0]["most_counted"] = Decimal(99)
    with pytest.raises(PlanRefused, match="more than 99 is counted on bridge hop"):
        verify_plan(MoveProblem.model_validate(tight), plan)


# Mistakes in what is asked.


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"tokens": [token("USDC"), token("USDC")]}, "token USDC is given twice"),
        ({"sources": [{"token": "DAI", "place": "p", "quantity": 1}]}, "names the token DAI"),
        ({"sources": [{"token": "USDC", "place": "p", "quantity": "0.0000001"}]}, "6 decimals"),
        ({"routes": [route("r", "p", "p")]}, "ends where it begins"),
        ({"routes": [route("r", "p", "q", bridge="b")]}, "delivers the USDC that it took"),
        ({"routes": [route("r", "p", "q", ("USDC", "DAI"))]}, "names the token DAI"),
        ({"routes": [route("r", "p", "q", seconds=0)]}, "greater than or equal to 1"),
        ({"routes": [route("r", "p", "q", fee_share=1)]}, "less than 1"),
        ({"requirements": [required(1), required(2)]}, "requirement of venue venue is given twice"),
        ({"requirements": [required(-1)]}, "greater than or equal to 0"),
        ({"requirements": []}, "at least 1 item"),
        ({"routes": [route("send", "vault", "venues")]}, "send ends at venues, which is no venue"),
        ({"routes": []}, "venue venue holds no source and no route ends there"),
        ({"requirements": [required(1), required(1, "other")]}, "venue other holds no source"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_mistakes_are_named(parts, sentence):
    with pytest.raises(ValidationError, match=sentence):
        problem(**parts)
