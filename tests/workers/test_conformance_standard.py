"""Published standard margins through the conformance methods.

Source of the portfolios: derivexyz/v2-core, StandardManager/test-cases.json, with its unit-test
constants; Bybit's and Deribit's help pages for the rest.
"""

import pytest

from workers.conformance.standard import METHODS

PARAMS = {
    "max_spot": 0.15,
    "min_spot": 0.1,
    "mm_call": 0.075,
    "mm_put_spot": 0.075,
    "mm_put_mtm": 0.075,
    "unpaired_im": 1.2,
    "unpaired_mm": 1.1,
    "mm_offset": 1.05,
}
FORWARD, SECONDS = 1500.833279310994, 500_400


def option(strike, call, qty, vol, underlying="ETH", seconds=SECONDS, forward=FORWARD):
    return {
        "underlying": underlying,
        "sec_to_expiry": seconds,
        "strike": strike,
        "call": call,
        "qty": qty,
        "vol": vol,
        "forward": forward,
    }


def srm(options, average=0.0, share=0.0):
    inputs = {
        "spot_eth": 1500.0,
        "spot_btc": 28_000.0,
        "options": options,
        "settlement_twap_eth": average,
        "percent_fixed_eth": share,
        "params_ref": "p",
    }
    return METHODS["derive_srm"](inputs, {"p": PARAMS})


@pytest.mark.parametrize(
    ("options", "maintenance", "initial"),
    [
        (
            [option(1500.0, True, -1.0, 1.0478844940849863)],
            -191.87158518905994,
            -304.37158518905994,
        ),
        ([option(1500.0, True, 1.0, 1.0478844940849863)], 0.0, 0.0),
        (
            [option(1900.0, True, -1.0, 1.1799938322791133)],
            -118.50826183542667,
            -156.00826183542665,
        ),
        (
            [option(1300.0, False, -1.0, 1.08318941550987648)],
            -126.82279429437404,
            -164.32279429437404,
        ),
        (
            [
                option(1900.0, True, 1.0, 1.179993832279113216),
                option(1700.0, True, -1.0, 1.116354471205355648),
            ],
            -135.60401446658245,
            -173.10401446658245,
        ),
        (
            [
                option(1200.0, True, 1.0, 1.1389393988282974),
                option(1000.0, True, -1.0, 1.2620121299319145),
                option(2500.0, True, -0.1, 1.32653865803086),
            ],
            -365.09166072420936,
            -380.09999351731926,
        ),
    ],
)
def test_portfolios_of_the_standard_manager(options, maintenance, initial):
    numbers = srm(options)
    assert numbers["ETHOptionMM"] == pytest.approx(maintenance, rel=1e-9, abs=1e-12)
    assert numbers["ETHOptionIM"] == pytest.approx(initial, rel=1e-9, abs=1e-12)
    assert numbers["BTCOptionMM"] == numbers["BTCOptionIM"] == 0.0


def test_an_average_that_has_begun_sets_the_forward():
    last = option(1500.0, True, -1.0, 1.048124566815733, seconds=900, forward=1500.0014982884197)
    numbers = srm([last], average=1433.5577777777778, share=0.75)
    assert numbers["ETHOptionMM"] == pytest.approx(-112.5000000010422, rel=1e-12)
    assert numbers["ETHOptionIM"] == pytest.approx(-225.00000000104222, rel=1e-12)


def test_no_options_and_options_at_expiry():
    assert srm([]) == dict.fromkeys(
        ("ETHOptionMM", "ETHOptionIM", "BTCOptionMM", "BTCOptionIM"), 0.0
    )
    expired = srm([option(28_000.0, False, -1.0, 1.0, "BTC", seconds=0, forward=27_000.0)])
    assert expired["BTCOptionMM"] == pytest.approx(-(1000.0 + 0.075 * 28_000.0), rel=1e-9)


BYBIT = {"mm_factor": 0.03, "liq_fee": 0.002, "im_hi": 0.15, "im_lo": 0.1}


@pytest.mark.parametrize(
    ("terms", "maintenance", "initial"),
    [
        (
            {
                "index": 20_250,
                "strike": 18_500,
                "type": "put",
                "entry": 280,
                "mark": 290,
                "qty": -1,
            },
            938.0,
            2_315.0,
        ),
        (
            {"index": 30_000, "strike": 31_000, "type": "call", "mark": 300, "qty": -1},
            1_260.0,
            3_800.0,
        ),
        ({"index": 30_000, "strike": 31_000, "type": "call", "mark": 300, "qty": 1}, 0.0, 0.0),
        (
            {
                "index": 30_000,
                "strike": 31_000,
                "type": "call",
                "entry": 400,
                "mark": 300,
                "qty": -2,
            },
            2_520.0,
            7_800.0,
        ),
    ],
)
def test_options_of_bybit(terms, maintenance, initial):
    numbers = METHODS["bybit_standard_option_margin"]({**BYBIT, **terms}, {})
    assert numbers["position_mm"] == pytest.approx(maintenance)
    assert numbers["position_im"] == pytest.approx(initial)


def test_inverse_payoffs():
    payoff = METHODS["inverse_option_payoff"]
    call = {"type": "call", "strike": 10_000, "delivery_price": 12_500, "premium_btc": 0.05}
    numbers = payoff(call, {})
    assert numbers["payoff_btc"] == pytest.approx(0.2, abs=1e-12)
    assert numbers["profit_btc"] == pytest.approx(0.15, abs=1e-12)
    assert numbers["intrinsic_usd"] == 2_500.0
    put = {"type": "put", "strike": 10_000, "delivery_price": 8_000}
    assert payoff(put, {})["payoff_btc"] == pytest.approx(0.25, abs=1e-12)
    assert payoff({**put, "delivery_price": 11_000}, {})["payoff_btc"] == 0.0
    with pytest.raises(ValueError, match="type is 'straddle'"):
        payoff({**put, "type": "straddle"}, {})
    with pytest.raises(ValueError, match="delivery_price is 0"):
        payoff({**put, "delivery_price": 0}, {})


def test_legacy_shocks():
    shock = METHODS["deribit_pm_legacy_vol_shock"]
    square_root = {"base": 0.4, "days": 15, "rule": "sqrt(30/days)*base"}
    assert shock(square_root, {})["iv_change"] == pytest.approx(0.4 * 2.0**0.5)
    power = {"base": 0.38, "days": 60, "rule": "(30/days)^0.30 * base"}
    assert shock(power, {})["iv_change"] == pytest.approx(0.38 * 0.5**0.3)
    with pytest.raises(ValueError, match="rule is 'flat'"):
        shock({**power, "rule": "flat"}, {})
