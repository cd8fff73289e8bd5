"""SIMM against results that others published, against its formulas, and against bad parameters."""

from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.sensitivities.aggregation import across_buckets, concentration, curvature_margin
from risk.sensitivities.simm.crif import sensitivities
from risk.sensitivities.simm.margin import simm_margin
from risk.sensitivities.simm.parameters import parse_simm
from tests.risk.sensitivities.simm_lib_cases import CASES, EACH_RATE, FX, RATES

FOLDER = resources.files("risk.sensitivities.parameters")
VERSIONS = ("2.2", "2.4", "2.5", "2.5A", "2.6")
COLUMNS = ("RiskType", "Qualifier", "Bucket", "Label1", "Label2", "Amount")

# One Bermudan swaption: OpenSourceRisk/Engine, Examples/InitialMargin/Input/Simm/crif.csv.
CURVE = {
    "2w": (11.18, -0.93),
    "3m": (0.05, -3.28),
    "6m": (-0.03, 2.01),
    "1y": (-0.09, -0.38),
    "2y": (-0.23, -2.93),
    "3y": (-1.05, -6.63),
    "5y": (-1431.81, -71.68),
    "10y": (-1991.02, -304.84),
    "15y": (-611.3, -510.15),
    "20y": (-5926.95, -660.82),
    "30y": (-1894.5, -62.5),
}
VOLATILITY = {"3y": 2813.27, "5y": 264121.38, "10y": 498253.14, "15y": 163454.34}
SWAPTION = [
    *(["Risk_IRCurve", "USD", "1", tenor, "Libor3m", a] for tenor, (a, _) in CURVE.items()),
    *(["Risk_IRCurve", "USD", "1", tenor, "OIS", b] for tenor, (_, b) in CURVE.items()),
    *(["Risk_IRVol", "USD", "", tenor, "", amount] for tenor, amount in VOLATILITY.items()),
    ["Risk_FX", "USD", "", "", "", 13186.84],
]

# OpenSourceRisk/Engine, Examples/InitialMargin/ExpectedOutput/SIMM*/simm.csv, call side.
ORE = [
    ("2.4", 10, 773922.591961526, 164581.581711581, 73242.737069232),
    ("2.4", 1, 214359.504775170, 42059.737548515, 5671.917558641),
    ("2.5A", 10, 812069.423860555, 164145.016111079, 72875.510958683),
    ("2.5A", 1, 230752.532522895, 42860.087540115, 5424.336378932),
    ("2.6", 10, 811888.163042849, 210187.747722988, 64143.548144290),
    ("2.6", 1, 230705.488412977, 42037.549544598, 5447.639286841),
]


def parameters(version):
    return parse_simm(text_of(version))


def text_of(version):
    return (FOLDER / f"isda-simm-{version}.toml").read_text()


def margin(rows, version, days=10, currency="USD"):
    return simm_margin(sensitivities(rows, COLUMNS), parameters(version), days, currency)


@pytest.mark.parametrize(("version", "days", "delta", "vega", "curvature"), ORE)
def test_a_swaption_meets_the_published_result(version, days, delta, vega, curvature):
    result = margin(SWAPTION, version, days)
    found = [result.of("InterestRate", name) for name in ("Delta", "Vega", "Curvature")]
    np.testing.assert_allclose(found, [delta, vega, curvature], rtol=1e-12)
    assert result.total == pytest.approx(delta + vega + curvature, rel=1e-12)


def by_number(rates, fx):
    rows = [RATES[n - 1] for n in rates] + [FX[n - 1] for n in fx]
    return simm_margin(sensitivities(rows), parameters("2.5")).total


@pytest.mark.parametrize("name", CASES)
def test_unit_tests_of_another_library_are_met_to_the_dollar(name):
    rates, fx, expected = CASES[name]
    assert abs(by_number(rates, fx) - expected) <= 0.5


@pytest.mark.parametrize("number", EACH_RATE)
def test_single_weights_of_another_library_are_met(number):
    assert by_number([number], []) == pytest.approx(EACH_RATE[number], rel=1e-12)


def test_the_tenor_of_an_equity_is_not_part_of_its_name():
    # AcadiaSoft/simm-lib issue 10: 340 is right, 284.46 was reported.
    rows = [["Risk_Equity", "TESTQUALIFIER", "11", tenor, "", 10] for tenor in ("3y", "10y")]
    assert margin(rows, "2.2").total == pytest.approx(340.0, abs=1e-9)
    split = [["Risk_Equity", name, "11", "", "", 10] for name in ("A", "B")]
    assert margin(split, "2.2").total == pytest.approx(284.46, abs=0.01)


def test_product_classes_add_up_and_risk_classes_diversify():
    rates = ["Risk_IRCurve", "USD", "1", "1y", "OIS", 1e6]
    fx = ["Risk_FX", "EUR", "", "", "", 10e6]
    apart = [margin([row], "2.5").total for row in (rates, fx)]
    together = margin([rates, fx], "2.5").total
    assert apart == [66e6, 74e6]
    assert together == pytest.approx(np.sqrt(66.0**2 + 74.0**2 + 2 * 0.32 * 66 * 74) * 1e6)
    columns = ("ProductClass", *COLUMNS)
    books = sensitivities([["RatesFX", *rates], ["Credit", *fx]], columns)
    assert simm_margin(books, parameters("2.5")).total == pytest.approx(sum(apart))


def test_inflation_is_concentrated_with_rates_and_basis_is_not():
    inflation = margin([["Risk_Inflation", "CHF", "", "", "", -10e6]], "2.5").total
    basis = margin([["Risk_XCcyBasis", "CHF", "", "", "", 30e6]], "2.5").total
    assert (inflation, basis) == (pytest.approx(630e6), pytest.approx(630e6))
    heavy = margin([["Risk_Inflation", "CHF", "", "", "", 176e6]], "2.5").total
    assert heavy == pytest.approx(63 * 176e6 * 2.0)  # four times the threshold of 44 million
    assert margin([["Risk_XCcyBasis", "CHF", "", "", "", 176e6]], "2.5").total == 21 * 176e6
    both = [["Risk_Inflation", "USD", "", "", "", 1e6], ["Risk_IRCurve", "USD", "1", "1y", "", 1e6]]
    assert margin(both, "2.5").total == pytest.approx(
        np.sqrt(63.0**2 + 66.0**2 + 2 * 0.37 * 63 * 66) * 1e6
    )


def test_a_volatile_calculation_currency_has_other_weights():
    rows = [["Risk_FX", "USD", "", "", "", 1e6], ["Risk_FX", "TRY", "", "", "", 1e6]]
    # Against BRL: USD at 13.6, TRY at 14.6, correlated 0.54.
    expected = np.sqrt(13.6**2 + 14.6**2 + 2 * 0.54 * 13.6 * 14.6) * 1e6
    assert margin(rows, "2.5", currency="BRL").total == pytest.approx(expected)


amounts = st.floats(-1e9, 1e9).map(lambda x: round(x, 2))
tenors = st.sampled_from(["2w", "1y", "5y", "30y"])
row = st.one_of(
    st.tuples(
        st.just("Risk_IRCurve"),
        st.sampled_from([("USD", "1"), ("JPY", "2"), ("MXN", "3")]),
        tenors,
        st.sampled_from(["OIS", "Libor3m"]),
        amounts,
    ),
    st.tuples(
        st.just("Risk_FX"),
        st.sampled_from([("EUR", ""), ("KRW", ""), ("TRY", "")]),
        st.just(""),
        st.just(""),
        amounts,
    ),
    st.tuples(st.just("Risk_IRVol"), st.just(("USD", "")), tenors, st.just(""), amounts),
).map(lambda r: [r[0], *r[1], *r[2:]])


@given(st.lists(row, max_size=8), st.randoms())
def test_order_and_splitting_of_rows_do_not_matter(rows, random):
    whole = margin(rows, "2.5").total
    halves = [[*r[:-1], r[-1] / 2] for r in rows for _ in range(2)]
    random.shuffle(halves)
    assert whole >= 0.0
    assert margin(halves, "2.5").total == pytest.approx(whole, rel=1e-9, abs=1e-3)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=4))
def test_buckets_never_ask_more_than_their_sum(values):
    total = np.array(values)
    margin = np.abs(total)
    gamma = np.full((len(values), len(values)), 0.4)
    assert across_buckets(margin, total, gamma) <= margin.sum() * (1 + 1e-12) + 1e-9


def test_convexity_in_our_favour_is_not_credited():
    gain = [np.array([-5.0, -1.0])]
    assert curvature_margin(gain, np.array([6.0]), np.eye(1)) == 0.0
    loss = [np.array([5.0, 1.0])]
    assert curvature_margin(loss, np.array([6.0]), np.eye(1)) == pytest.approx(6 * (1 + 5.63489664))


def test_concentration_starts_at_the_threshold():
    assert concentration(np.array([0.0, 1.0, 4.0]), 1.0).tolist() == [1.0, 1.0, 2.0]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_shipped_version_says_where_it_is_from_and_what_it_needs(version):
    found = parameters(version)
    assert found.version == version
    assert "licence from ISDA" in found.licence
    assert found.sources
    assert found.not_verified


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_tenor_correlations_are_correlations(version):
    matrix = parameters(version).interest_rate.correlation()
    assert (matrix == matrix.T).all()
    assert np.linalg.eigvalsh(matrix).min() > 0.0


WRONG = [
    ("licence = ", "license = ", "license"),
    ("currency_correlation = 0.24", "currency_correlation = 24.0", "currency_correlation"),
    ("currency_correlation = 0.24", "", "currency_correlation"),
    ("  [0.99],\n", "", "upper triangle"),
    ("regular = [115, 112, ", "regular = [112, ", "11 weights"),
    ('currencies = ["JPY"]', 'currencies = ["USD"]', "USD"),
    ('currencies = ["*"]\ndelta = 33', 'currencies = ["X"]\ndelta = 33', "all the others"),
    ("vega = 120\n", "", "need vega"),
    ("days = 10\nregular = [115", "days = 5\nregular = [115", "days"),
    ("days = 1\nregular = 1.8", "days = 10\nregular = 1.8", "one entry each"),
    ("mixed = 13.6", "mixed = -13.6", "mixed"),
    ("delta = 1200", "delta = 0", "delta"),
    ("version = ", "version = 2 #", "version"),
]


@pytest.mark.parametrize(("old", "new", "named"), WRONG)
def test_each_wrong_or_missing_field_is_named(old, new, named):
    text = text_of("2.5")
    assert old in text
    with pytest.raises(ValueError, match=named):
        parse_simm(text.replace(old, new, 1))


REFUSED = [
    (["Risk_Commodity", "X", "1", "", "", 1.0], "2.5", "Risk_Commodity"),
    (["Risk_IRCurve", "USD", "1", "7y", "", 1.0], "2.5", "7y"),
    (["Risk_IRCurve", "USD", "2", "1y", "", 1.0], "2.5", "bucket '2'"),
    (["Risk_IRCurve", "USD", "1", "1y", "", float("nan")], "2.5", "Amount"),
    (["Risk_FX", "EUR", "", "", "", 1.0], "2.6", "no parameters of FX"),
    (["Risk_Equity", "X", "3", "", "", 1.0], "2.2", "bucket '3'"),
    (["Risk_Equity", "X"], "2.2", "2 fields"),
]


@pytest.mark.parametrize(("row", "version", "named"), REFUSED)
def test_what_cannot_be_margined_is_refused_by_name(row, version, named):
    with pytest.raises(ValueError, match=named):
        margin([row], version)
