"""What-if: against the run of a book in which the trade was made, and the account's own margin."""

import dataclasses
import json

import numpy as np
import pytest

from risk.health import HealthSpec
from workers.account_case import AccountHeld, MarginDiffers, account_case, rules_of
from workers.what_if import TradeRefused, _require_margined, parse_trade, what_if

HELD = ("acc-007", "acc-012", "acc-031")


@pytest.fixture(scope="module")
def done(mixed_book, margin_of):
    return margin_of(mixed_book)


@pytest.fixture(scope="module")
def rules(done):
    return rules_of(done.run)


def margined(run, book):
    names = book.account_table(0, book.accounts)["account"].to_pylist()
    status = run.accounts["status"].values
    return [(row, name) for row, name in enumerate(names) if status[row] == 0]


def rows_of(rules, names):
    """Rows of instruments by name; the book sorts them by its own order."""
    every = rules.table["instrument"].to_pylist()
    return [every.index(name) for name in names]


def test_every_account_is_margined_again_as_it_was_stored(mixed_book, done, rules):
    """Of a few instruments beside each other as of all of them, to the last bit."""
    for row, name in margined(done.run, mixed_book):
        case = account_case(rules, name)
        stored = done.run.accounts.isel(account=row).load()
        found = case.margin(case.quantity[None])
        for key in ("margin", "equity", "requirement", "maintenance", "excess"):
            assert np.array_equal(getattr(found, key)[0], stored[key].values), (name, key)
        assert case.equity == pytest.approx(float(stored["equity"]), rel=1e-12, abs=1e-9)


def test_without_trades_the_account_is_as_it_is(mixed_book, done):
    for row, name in margined(done.run, mixed_book)[:4]:
        answer = what_if(done.run, name, [])
        stored = done.run.accounts.isel(account=row).load()
        assert answer["before"] == answer["after"]
        assert answer["before"]["requirement"] == float(stored["requirement"])
        assert answer["trades"] == answer["marginal"] == []
        assert answer["change"] == 0.0


def test_a_trade_is_what_the_run_of_the_changed_book_says(done, rules, mixed_book):
    """One account takes on what another holds: its margin is that of the same positions."""
    accounts = margined(done.run, mixed_book)
    modes = mixed_book.account_table(0, mixed_book.accounts)["margin_mode"].to_pylist()
    flat = next(row for row, _ in accounts if not int(done.run.accounts["positions"][row]))
    names = dict(accounts)
    checked = 0
    for row, _ in accounts[:-1]:
        if modes[row] != modes[flat] or row == flat:
            continue
        held = mixed_book.position_slice(row, row + 1)
        table = rules.table["instrument"].to_pylist()
        lot = rules.table["lot_size"].to_numpy()
        adds = [
            f"{lots * lot[at]:.12g} {table[at]}"
            for at, lots in zip(held.instrument.tolist(), held.lots.tolist(), strict=True)
        ]
        answer = what_if(done.run, names[flat], adds)
        stored = float(done.run.accounts["requirement"][row])
        assert answer["after"]["requirement"] == pytest.approx(stored, rel=1e-12)
        assert answer["after"]["maintenance"] == pytest.approx(
            float(done.run.accounts["maintenance"][row]), rel=1e-12
        )
        checked += bool(adds)
        if checked == 2:
            return
    pytest.fail(f"{checked} accounts of that mode hold anything")


ADDS = ["-3 I10", "2.5 I01", "-20 I02", "4 I08", "-0.5 I06"]


@pytest.mark.parametrize("account", ["acc-001", "acc-002", "acc-003", "acc-010", "acc-030"])
def test_parts_sum_to_their_whole(done, account):
    answer = json.loads(json.dumps(what_if(done.run, account, ADDS), allow_nan=False))
    before, after = answer["before"], answer["after"]
    about = {"rel": 1e-9, "abs": 1e-7}
    incremental = sum(one["incremental"] for one in answer["marginal"])
    assert incremental == pytest.approx(answer["change"], **about)
    assert answer["marginal"][0]["incremental"] == pytest.approx(
        answer["marginal"][0]["alone"], **about
    )
    assert answer["marginal"][-1]["incremental"] == pytest.approx(
        answer["marginal"][-1]["last"], **about
    )
    shares = sum(one["share"] for one in answer["shares"]["positions"])
    assert shares == pytest.approx(after["requirement"], **about)
    assert sum(one["change"] for one in answer["layers"]) == pytest.approx(
        answer["change"], **about
    )
    for state in (before, after):
        assert state["equity"] == pytest.approx(
            state["collateral_value"] + state["position_value"], **about
        )
        assert state["excess"] == pytest.approx(state["equity"] - state["requirement"], **about)
    # At the mark and free of fees: what is paid is what is held.
    assert after["equity"] == pytest.approx(before["equity"], **about)
    paid = sum(trade["paid"] for trade in answer["trades"])
    assert before["collateral_value"] - after["collateral_value"] == pytest.approx(paid, **about)


def test_a_trade_that_closes_leaves_nothing_behind(done, rules):
    case = account_case(rules, "acc-001")
    adds = [f"{-contracts:.12g} {name}" for name, contracts in zip(
        case.names, case.quantity, strict=True)]  # fmt: skip
    answer = what_if(done.run, "acc-001", adds)
    assert answer["after"]["requirement"] == 0.0
    assert answer["shares"]["positions"] == []
    assert answer["liquidation"] == []


def test_equity_after_a_move_is_priced_position_by_position(done, rules):
    """A linear perpetual, spot and coin collateral by hand; nothing else moves."""
    contracts = {"I00": 0.5, "I01": -2.0, "I06": 3.0}
    case = account_case(rules, "acc-010", rows_of(rules, contracts))
    quantity = np.array([contracts[name] for name in case.names])
    eth = rules.underlyings.index("ETH")
    price = rules.market.index[eth]
    equity, _ = case.moved(quantity, eth, 0.25)
    gain = (-2.0 + 3.0 + case.coins[eth]) * price * 0.25
    base = case.collateral + 3.0 * price
    assert equity == pytest.approx(base + gain, rel=1e-12)
    still, maintenance = case.moved(quantity, eth, 0.0)
    assert still == pytest.approx(base, rel=1e-12)
    assert maintenance == pytest.approx(float(case.margin(quantity[None]).maintenance[0]), rel=1e-9)


def test_a_liquidation_price_is_where_equity_meets_maintenance(done, mixed_book):
    found = {"below": 0, "above": 0, "none": 0, "now": 0}
    rules = rules_of(done.run)
    asked = [("acc-010", [add]) for add in ("0.5 I00", "-0.5 I00", "-6 I10")]
    asked += [(name, []) for _, name in margined(done.run, mixed_book)[1:5]]
    for name, adds in asked:
        answer = what_if(done.run, name, adds)
        trades = [parse_trade(add, rules) for add in adds]
        case = account_case(rules, name, [trade.instrument for trade in trades])
        after = {one["instrument"]: one["contracts"] for one in answer["shares"]["positions"]}
        quantity = np.array([after.get(leg, 0.0) for leg in case.names])
        paid = sum(trade["paid"] for trade in answer["trades"])
        for one in answer["liquidation"]:
            coin = rules.underlyings.index(one["underlying"])
            if one["liquidated_now"]:
                found["now"] += 1
                assert answer["after"]["equity"] < answer["after"]["maintenance"]
                continue
            for side in ("below", "above"):
                if one[side] is None:
                    found["none"] += 1
                    continue
                found[side] += 1
                move = one[side]["move"]
                inside = move - np.sign(move) * 3e-6
                equity, maintenance = case.moved(quantity, coin, move)
                assert equity - paid < maintenance
                equity, maintenance = case.moved(quantity, coin, inside)
                assert equity - paid >= maintenance
                assert one[side]["price"] == pytest.approx(one["price"] * (1.0 + move))
    assert all(found.values()), found


def test_a_linear_account_is_liquidated_where_the_closed_form_says(done, rules):
    """Long one perpetual against cash: equity + q S m = rate x q S (1 + m), rate by scaling."""
    case = account_case(rules, "acc-010", rows_of(rules, ["I00"]))
    one = np.array([1.0])
    btc = rules.underlyings.index("BTC")
    price = rules.market.index[btc]
    rate = float(case.margin(one[None]).maintenance[0]) / price
    equity = case.collateral
    contracts = max(0.001, round(equity / (0.5 * price), 3))
    answer = what_if(done.run, "acc-010", [f"{contracts} I00"])
    (found,) = answer["liquidation"]
    assert case.coins[btc] == 0.0
    move = (rate - equity / (contracts * price)) / (1.0 - rate)
    assert found["below"]["move"] == pytest.approx(move, abs=3e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5 I0", r"UNKNOWN_INSTRUMENT: no instrument 'I0' among the 15.*nearest are \['I"),
        ("5 i01", r"UNKNOWN_INSTRUMENT.*nearest are \['I01'"),
        (
            "5 ZZZZZZZZ",
            "UNKNOWN_INSTRUMENT: no instrument 'ZZZZZZZZ' among the 15 of book 'mixed'$",
        ),
        ("0 I01", "NUMBER_INVALID: quantity '0' of I01.*other than zero"),
        ("nan I01", "NUMBER_INVALID"),
        ("-inf I01", "NUMBER_INVALID"),
        ("1e400 I01", "NUMBER_INVALID"),
        ("five I01", "NUMBER_INVALID: quantity 'five'"),
        ("5", "NUMBER_INVALID: '5' is no trade"),
        ("", "NUMBER_INVALID: '' is no trade"),
        ("0.005 I01", "LOT_SIZE: quantity 0.005 of I01 is 0.5 lots.*lots of 0.01 contracts"),
        ("1e300 I01", "OVERFLOW"),
        ("1 I13", "PRICE_MISSING: I13 has no price in run mixed"),
    ],
)
def test_a_trade_that_cannot_be_meant_is_refused(rules, text, said):
    with pytest.raises(TradeRefused, match=said):
        parse_trade(text, rules)


@pytest.mark.parametrize(("text", "lots"), [("-3 I10", -30), ("0.07 I01", 7), ("  2e1  I02 ", 20)])
def test_a_quantity_is_whole_lots(rules, text, lots):
    trade = parse_trade(text, rules)
    assert trade.lots == lots
    assert rules.table["instrument"][trade.instrument].as_py() == text.split()[1]


def test_an_instrument_that_no_rule_margins_is_refused(done, rules):
    (row,) = rows_of(rules, ["I08"])
    case = account_case(rules, "acc-010", [row])
    none = dataclasses.replace(case.revaluation, priced=np.zeros(1, dtype=bool))
    with pytest.raises(TradeRefused, match="no rule of small margins I08"):
        _require_margined(dataclasses.replace(case, revaluation=none))


@pytest.mark.parametrize("account", HELD)
def test_nothing_follows_for_an_account_that_is_held_back(done, account):
    with pytest.raises(AccountHeld, match=f"account {account} is held back"):
        what_if(done.run, account, ["1 I00"])


def test_a_stored_number_that_is_not_the_recomputed_one_is_refused(done):
    bent = done.run.accounts.load().copy(deep=True)
    bent["maintenance"][1] += 0.01
    run = dataclasses.replace(done.run, groups={**done.run.groups, "accounts": bent})
    with pytest.raises(MarginDiffers, match="account acc-001: maintenance is"):
        what_if(run, "acc-001", [])


def test_thresholds_may_be_given(done):
    strict = what_if(done.run, "acc-010", [], HealthSpec(warning_ratio=1e9))
    assert strict["before"]["health"] in {"healthy", "warning"}
