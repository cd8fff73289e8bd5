"""Whole-book margin against a slow twin, by hand, and against the laws it should keep."""

from dataclasses import replace
from importlib import resources

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.allocation import aumann_shapley, incremental_allocation
from risk.sensitivities.calibration import calibrate
from risk.sensitivities.greeks import Sensitivities
from risk.sensitivities.margin import LAYERS, greeks_margin, requirement_of_legs
from risk.sensitivities.specification import parse_greeks, risk_factors
from storage.market import sample_market

TEXT = (
    resources.files("risk.methodologies") / "sensitivities" / "margincube-greeks-2026-01.toml"
).read_text()
SPEC = parse_greeks(TEXT)
COINS = ("BTC", "ETH", "SOL", "ADA", "XRP", "DOT")
# Six coins in four buckets: two in the bucket "other", two in the residual one.
WIDER = parse_greeks(TEXT.replace('underlyings = ["SOL"]', 'underlyings = ["SOL", "ADA"]'))
FACTORS = risk_factors(WIDER, COINS)
VERTICES = len(FACTORS.years)


def sensitivities(seed, size=40):
    draw = np.random.default_rng(seed)
    return Sensitivities(
        underlying=draw.integers(0, len(COINS), size),
        delta=draw.normal(size=size) * 1e6,
        vega=np.zeros(size),
        relative_vega=draw.normal(size=size) * 1e5 * (draw.random(size) < 0.7),
        vertex=draw.integers(0, VERTICES - 1, size),
        upper_share=draw.random(size),
        curvature_up=draw.normal(size=size) * 1e4,
        curvature_down=draw.normal(size=size) * 1e4,
    )


def twin(instrument, quantity, unit, factors):
    """One account in dense NumPy: every factor, every pair, no shortcuts."""
    coins, vertices = len(factors.bucket), len(factors.years)
    delta, up, down = np.zeros(coins), np.zeros(coins), np.zeros(coins)
    vega = np.zeros((coins, vertices))
    for i, q in zip(instrument, quantity, strict=True):
        u, v, share = unit.underlying[i], unit.vertex[i], unit.upper_share[i]
        delta[u] += q * unit.delta[i]
        up[u] += q * unit.curvature_up[i]
        down[u] += q * unit.curvature_down[i]
        vega[u, v] += q * unit.relative_vega[i] * (1 - share)
        vega[u, v + 1] += q * unit.relative_vega[i] * share

    factor = np.maximum(1, np.sqrt(abs(delta) / factors.delta_threshold))
    weighted = (delta * factors.delta_weight * factor)[:, None]
    first = clipped(weighted, factor, np.eye(1), factors)

    factor = np.maximum(1, np.sqrt(abs(vega.sum(axis=1)) / factors.vega_threshold))
    weighted = vega * factors.vega_weight * factor[:, None]
    second = clipped(weighted, factor, factors.tenor_correlation, factors)
    return np.array([first, second, curvature(up, down, factors)])


def clipped(weighted, factor, tenor, factors):
    margin, total = [], []
    for b in range(len(factors.within)):
        rows = np.flatnonzero(factors.bucket == b)
        if factors.residual[b]:
            margin.append(abs(weighted[rows]).sum())
            total.append(0.0)
            continue
        f = np.minimum.outer(factor[rows], factor[rows]) / np.maximum.outer(
            factor[rows], factor[rows]
        )
        rho = np.where(np.eye(len(rows), dtype=bool), 1.0, factors.within[b] * f)
        cross = weighted[rows] @ tenor @ weighted[rows].T
        margin.append(np.sqrt(max(0.0, (rho * cross).sum())))
        total.append(np.clip(weighted[rows].sum(), -margin[-1], margin[-1]))
    margin, total = np.array(margin), np.array(total)
    inside = ~factors.residual
    gamma = factors.between[np.ix_(inside, inside)] - np.eye(inside.sum())
    squares = (margin[inside] ** 2).sum() + total[inside] @ gamma @ total[inside]
    return np.sqrt(max(0.0, squares)) + margin[factors.residual].sum()


def curvature(up, down, factors):
    margin, total = [], []
    for b in range(len(factors.within)):
        rows = np.flatnonzero(factors.bucket == b)
        if factors.residual[b]:
            margin.append(max(np.maximum(loss[rows], 0).sum() for loss in (up, down)))
            total.append(0.0)
            continue
        sides = []
        for loss in (up[rows], down[rows]):
            both = np.logical_or.outer(loss > 0, loss > 0)
            rho = factors.within[b] ** 2 * both * ~np.eye(len(rows), dtype=bool)
            square = (np.maximum(loss, 0) ** 2).sum() + loss @ rho @ loss
            sides.append((np.sqrt(max(0.0, square)), loss.sum()))
        one, other = sides
        chosen = one if one[0] > other[0] or (one[0] == other[0] and one[1] > other[1]) else other
        margin.append(chosen[0])
        total.append(chosen[1])
    margin, total = np.array(margin), np.array(total)
    inside = ~factors.residual
    s = total[inside]
    psi = np.logical_or.outer(s > 0, s > 0)
    gamma = (factors.between[np.ix_(inside, inside)] ** 2 - np.eye(inside.sum())) * psi
    squares = (margin[inside] ** 2).sum() + s @ gamma @ s
    return np.sqrt(max(0.0, squares)) + margin[factors.residual].sum()


quantities = st.floats(-300.0, 300.0).map(lambda x: round(x, 3))
positions = st.lists(st.tuples(st.integers(0, 39), quantities), max_size=12)


def flat(accounts):
    offsets = np.cumsum([0, *(len(account) for account in accounts)])
    held = [position for account in accounts for position in account]
    instrument = np.array([i for i, _ in held], dtype=np.int32)
    return offsets, instrument, np.array([q for _, q in held], dtype=np.float64)


@settings(deadline=None, max_examples=60)
@given(st.lists(positions, max_size=4), st.integers(0, 5))
def test_kernel_meets_the_twin(accounts, seed):
    unit = sensitivities(seed)
    offsets, instrument, quantity = flat(accounts)
    found = greeks_margin(offsets, instrument, quantity, unit, FACTORS)
    assert found.shape == (len(accounts), len(LAYERS))
    assert (found >= 0.0).all()
    for a in range(len(accounts)):
        rows = slice(offsets[a], offsets[a + 1])
        expected = twin(instrument[rows], quantity[rows], unit, FACTORS)
        np.testing.assert_allclose(found[a], expected, rtol=1e-8, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.lists(positions, min_size=1, max_size=8), st.data())
def test_bits_do_not_depend_on_how_accounts_are_cut(accounts, data):
    unit = sensitivities(1)
    offsets, instrument, quantity = flat(accounts)
    whole = greeks_margin(offsets, instrument, quantity, unit, FACTORS)
    cut = data.draw(st.integers(0, len(accounts)))
    parts = [flat(part) for part in (accounts[:cut], accounts[cut:])]
    pieces = [greeks_margin(*part, unit, FACTORS) for part in parts]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


@settings(deadline=None, max_examples=30)
@given(positions, st.randoms())
def test_order_of_positions_does_not_matter(account, random):
    unit = sensitivities(2)
    mixed = account.copy()
    random.shuffle(mixed)
    found = greeks_margin(*flat([account, mixed]), unit, FACTORS)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(positions, st.floats(0.01, 100.0))
def test_margin_scales_with_the_book_below_the_thresholds(account, size):
    unit = sensitivities(3)
    high = FACTORS._replace(
        delta_threshold=FACTORS.delta_threshold * 1e9, vega_threshold=FACTORS.vega_threshold * 1e9
    )
    larger = [(i, q * size) for i, q in account]
    one, other = greeks_margin(*flat([account, larger]), unit, high)
    np.testing.assert_allclose(other, one * size, rtol=1e-7, atol=1e-2)


@settings(deadline=None, max_examples=30)
@given(positions)
def test_concentration_never_lowers_a_margin_of_one_coin(account):
    unit = replace(sensitivities(4), underlying=np.full(40, 1))
    high = FACTORS._replace(
        delta_threshold=FACTORS.delta_threshold * 1e9, vega_threshold=FACTORS.vega_threshold * 1e9
    )
    book = flat([account])
    concentrated = greeks_margin(*book, unit, FACTORS)
    assert (concentrated >= greeks_margin(*book, unit, high) * (1 - 1e-12)).all()


def one_coin(**values):
    zeros = {name: np.zeros(len(COINS)) for name in Sensitivities.__dataclass_fields__}
    given_values = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    whole = {
        "underlying": np.arange(len(COINS)),
        "vertex": np.zeros(len(COINS), dtype=np.int64),
    }
    return Sensitivities(**(zeros | given_values | whole))


def test_by_hand():
    unit = one_coin(delta=np.full(6, 1e6))

    def delta_of(*held):
        return greeks_margin(*flat([list(held)]), unit, FACTORS)[0, 0]

    assert delta_of((0, 1.0)) == pytest.approx(0.14e6)
    # Four times the threshold of 100 million: twice the weight.
    assert delta_of((0, 400.0)) == pytest.approx(400e6 * 0.14 * 2)
    # BTC against ETH at 0.80: 14 and 18.
    hedged = np.sqrt(14.0**2 + 18.0**2 - 2 * 0.8 * 14 * 18) * 1e4
    assert delta_of((0, 1.0), (1, -1.0)) == pytest.approx(hedged)
    # Two coins of one bucket at 0.55.
    assert delta_of((2, 1.0), (3, 1.0)) == pytest.approx(0.3e6 * np.sqrt(2 + 2 * 0.55))
    # A residual coin offsets nothing, another of them neither.
    assert delta_of((4, 1.0), (5, -1.0)) == pytest.approx(0.5e6 + 0.5e6)
    assert delta_of((0, 1.0), (4, -1.0)) == pytest.approx(0.14e6 + 0.5e6)


def test_vega_by_hand():
    unit = one_coin(relative_vega=np.full(6, 1e5))
    unit = replace(unit, upper_share=np.array([0.0, 1.0, 0.25, 0.0, 0.0, 0.0]))
    book = flat([[(0, 1.0)], [(1, 1.0)], [(2, 2.0)]])
    found = greeks_margin(*book, unit, FACTORS)[:, 1]
    rho = np.exp(-0.01 * 23 / 7)
    low, high = 1.5e5 * 0.77, 0.5e5 * 0.50
    mixed = np.sqrt(low**2 + high**2 + 2 * rho * low * high)
    np.testing.assert_allclose(found, [0.77e5, 0.50e5, mixed], rtol=1e-12)


def test_gains_from_convexity_are_not_credited_and_the_worse_side_counts():
    unit = one_coin(curvature_up=[-5.0, 3.0, 0, 0, 0, 0], curvature_down=[-4.0, 7.0, 0, 0, 0, 0])
    book = flat([[(0, 1.0)], [(1, 1.0)], [(1, -1.0)], [(0, -1.0)]])
    assert greeks_margin(*book, unit, FACTORS)[:, 2].tolist() == [0.0, 7.0, 0.0, 5.0]


def test_arrays_of_other_types_and_layouts_give_the_same_bits():
    unit = sensitivities(5)
    offsets, instrument, quantity = flat([[(3, 1.5), (7, -2.0)], [(1, 4.0)]])
    expected = greeks_margin(offsets, instrument, quantity, unit, FACTORS)
    apart = replace(
        unit,
        underlying=unit.underlying.astype(np.int16),
        delta=np.stack([unit.delta, unit.delta], axis=1)[:, 0],
    )
    quantity.flags.writeable = False
    found = greeks_margin(offsets.astype(np.int32), instrument, quantity, apart, FACTORS)
    assert found.tobytes() == expected.tobytes()


def test_the_shares_of_legs_sum_to_the_requirement():
    instrument = np.array([3, 8, 20], dtype=np.int32)
    quantity = np.array([2.0, -1.0, 40.0])
    unit = sensitivities(6)
    requirement = requirement_of_legs(instrument, unit, FACTORS)
    whole = greeks_margin(np.array([0, 3]), instrument, quantity, unit, FACTORS).sum()
    assert requirement(quantity[None, :]).tolist() == [whole]
    assert aumann_shapley(requirement, quantity).amount.sum() == pytest.approx(whole)
    assert incremental_allocation(requirement, quantity).sum() == pytest.approx(whole)


def test_no_position_asks_nothing():
    assert greeks_margin(*flat([[], []]), sensitivities(0), FACTORS).tolist() == [[0.0] * 3] * 2
    assert greeks_margin(*flat([]), sensitivities(0), FACTORS).shape == (0, 3)


BAD_BOOKS = [
    (([0, 2], [0], [1.0]), "offsets must run"),
    (([0, 1, 0, 1], [0], [1.0]), "offsets fall"),
    (([0, 1], [0], [1.0, 2.0]), "2 quantities"),
    (([0, 1], [40], [1.0]), "0 to 39"),
    (([0, 1], [0], [float("nan")]), "position 0"),
]


@pytest.mark.parametrize(("book", "named"), BAD_BOOKS)
def test_positions_that_cannot_be_meant_are_refused(book, named):
    offsets, instrument, quantity = book
    arrays = (np.array(offsets), np.array(instrument, np.int32), np.array(quantity))
    with pytest.raises(ValueError, match=named):
        greeks_margin(*arrays, sensitivities(0), FACTORS)


def test_weights_and_correlations_are_those_of_the_shipped_history():
    table = sample_market().prices()
    start = np.datetime64("2020-01-01T00:00:00")
    hours = int((np.datetime64("2025-12-12T18:00:00") - start) / np.timedelta64(1, "h")) + 1
    closes = np.full((hours, 3), np.nan)
    for column, coin in enumerate(("BTC", "ETH", "SOL")):
        rows = table.filter(pc.equal(table["underlying"], coin))
        instants = rows["timestamp"].to_numpy().astype("datetime64[s]")
        hour = ((instants - start) / np.timedelta64(1, "h")).astype(int)
        inside = (hour >= 0) & (hour < hours)
        closes[hour[inside], column] = rows["close"].to_numpy()[inside]
    found = calibrate(closes, 48, 0.975)
    weights = [bucket.delta_weight for bucket in SPEC.buckets[:3]]
    assert weights == [float(np.ceil(w * 100) / 100) for w in found.weight]
    pairs = [found.correlation[0, 1], found.correlation[0, 2], found.correlation[1, 2]]
    assert [pair.value for pair in SPEC.bucket_correlations] == [
        pytest.approx(round(pair * 20) / 20) for pair in pairs
    ]


def test_a_calibration_needs_enough_windows():
    with pytest.raises(ValueError, match="at least 40"):
        calibrate(np.linspace(1.0, 2.0, 20)[:, None], 2, 0.975)
    with pytest.raises(ValueError, match="level is 97"):
        calibrate(np.linspace(1.0, 2.0, 20)[:, None], 2, 97.5)


def test_a_coin_without_bucket_is_named():
    closed = parse_greeks(TEXT.replace('underlyings = ["*"]', 'underlyings = ["DOGE"]'))
    with pytest.raises(ValueError, match="PEPE"):
        risk_factors(closed, ("BTC", "PEPE"))


WRONG = [
    ("delta_weight = 0.14", "delta_weight = 14.0", "delta_weight"),
    ("delta_weight = 0.14\n", "", "delta_weight"),
    ("delta_weight = 0.14", "delta_wieght = 0.14", "delta_wieght"),
    ("vega_threshold = 20_000_000.0", "vega_threshold = 0.0", "vega_threshold"),
    ('name = "ETH"', 'name = "BTC"', "named twice"),
    ('underlyings = ["ETH"]', 'underlyings = ["BTC"]', "named twice"),
    ('between = ["ETH", "other"]', 'between = ["ETH", "BTC"]', "needed once each"),
    ("value = 0.60", "value = -0.60", "eigenvalue"),
    ("30.0, 90.0", "90.0, 30.0", "must rise"),
    ("0.77, 0.50", "0.50", "4 weights for 5"),
    ("tenor_decay = 0.01\n", "", "tenor_decay"),
    ("residual = true\n", "residual = true\ncorrelation = 0.5\n", "residual"),
    ("correlation = 0.55\n", "", "lacks a correlation"),
    ('delta_threshold = "choice', 'threshold = "choice', "provenance"),
    ("effective = 2026-01-01", 'effective = "soon"', "effective"),
]


@pytest.mark.parametrize(("old", "new", "named"), WRONG)
def test_each_wrong_or_missing_field_is_named(old, new, named):
    assert old in TEXT
    with pytest.raises(ValueError, match=named):
        parse_greeks(TEXT.replace(old, new, 1))
