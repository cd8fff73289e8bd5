"""What a run held back: it adds up, it has its money, and too much of it refuses the run."""

import numpy as np
import pyarrow as pa
import pytest

from flows.cli import _exit_code
from flows.commands.quarantine import print_held_rows
from storage.book import Book
from storage.intake.book import import_book
from storage.market import sample_market
from storage.runs import RunStore
from workers.engine import SerialEngine
from workers.margin_run import MarginRun
from workers.plan import RunRequest
from workers.quarantine import HeldBack, TooMuchHeldBack, held_back


@pytest.fixture(scope="module")
def done(mixed_book, margin_of):
    return margin_of(mixed_book)


@pytest.fixture(scope="module")
def found(done):
    return held_back(done.run)


def test_what_came_in_is_what_was_margined_and_what_was_not(found, mixed_book, done):
    totals = found.totals
    assert totals["accounts_held"] == done.run.manifest["totals"]["held"] > 3
    for name, aside in (("accounts", "left_out"), ("positions", "set_aside")):
        parts = (f"{name}_margined", f"{name}_held", f"{name}_{aside}")
        assert totals[f"{name}_in"] == sum(totals[part] for part in parts)
    assert totals["positions_in"] == mixed_book.positions
    kept = done.run.accounts["positions"].values[done.run.accounts["status"].values == 0]
    assert totals["positions_margined"] == kept.sum()
    for name in ("accounts", "positions"):
        assert sum(one[name] for one in found.codes) == totals[f"{name}_held"]
    for name in ("collateral", "notional", "equity"):
        parts = sum(one[name] for one in found.codes)
        assert parts == pytest.approx(totals[f"{name}_held"])


def test_the_collateral_at_stake_is_that_of_the_accounts_held_back(found, mixed_book, done):
    price = {"USD": 1.0} | done.run.manifest["index"]
    assets = mixed_book.assets().to_pylist()
    expected = 0.0
    for row in np.flatnonzero(done.run.accounts["status"].values == 1).tolist():
        held = mixed_book.collateral_slice(row, row + 1)
        for asset, quantity in zip(held.asset.tolist(), held.quantity.tolist(), strict=True):
            one = assets[asset]
            expected += quantity * price.get(one["underlying"], 0.0) * (1.0 - one["haircut"])
    assert found.totals["collateral_held"] == pytest.approx(expected)


def test_accounts_without_a_price_are_listed_with_what_lacks_it(found):
    rows = found.rows.to_pylist()
    codes = {one["code"]: one for one in found.codes}
    assert codes["PRICE_MISSING"]["accounts"] == codes["PRICE_MISSING"]["accounts"] > 0
    assert {"LOTS_FRACTION", "SIGN"} <= codes.keys()
    lacking = {row["row"] for row in rows if row["code"] == "PRICE_MISSING"}
    assert {"acc-007 / I13", "acc-031 / WXYZ"} <= lacking
    assert all(row["action"] for row in rows)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"most_held_back": 0.05}, r"of accounts are held back \(5 of 60\), allowed are 5.00%"),
        ({"most_money_held_back": 0.0}, r"of collateral are held back \(USD"),
    ],
)
def test_a_run_that_holds_back_too_much_is_not_published(
    mixed_book, small_methodology, tmp_path, limits, said
):
    engine = SerialEngine()
    request = RunRequest(
        book=mixed_book.location, methodology=str(small_methodology), runs=tmp_path, **limits
    )
    with MarginRun(request, lambda: engine, lambda: engine) as run:
        run.prepare()
        run.price()
        run.margin()
        run.fold()
        with pytest.raises(TooMuchHeldBack, match=said) as caught:
            run.publish()
    assert _exit_code(caught.value) == 3
    assert RunStore(tmp_path).manifests() == []


def test_limits_that_are_met_publish(mixed_book, margin_of):
    done = margin_of(mixed_book, most_held_back=0.5, most_money_held_back=0.9)
    assert done.run.manifest["settings"]["most_held_back"] == "0.5"


COLLATERAL = {
    "large": ("USD", "50000000"),
    "small": ("USD", "1000"),
    "coins": ("WETH", "2.5"),
    "odd": ("WETH", "many"),
    "nobody": ("USD", "250"),
}
"""Collateral by account: of two that are left out, of two in the book, and of none."""


@pytest.fixture(scope="module")
def with_left_out(tmp_path_factory):
    """A book whose largest account is left out, for its margin mode is none."""
    folder = tmp_path_factory.mktemp("left-out")
    source = folder / "source"
    source.mkdir()
    quote = dict.fromkeys(("large", "coins"), "span") | dict.fromkeys(("small", "odd"), "cross")
    files = {
        "instruments": [
            "instrument,kind,settlement,underlying,settlement_currency,expiry,strike,option_type,"
            "multiplier,lot_size,venue,protocol,chain",
            "ETH-PERP,perpetual,linear,ETH,USD,,,,1,1,v,none,none",
        ],
        "accounts": ["account,member,margin_mode", *(f"{a},m,{mode}" for a, mode in quote.items())],
        "positions": ["account,instrument,quantity", "small,ETH-PERP,1", "odd,ETH-PERP,-1"],
        "assets": [
            "asset,chain,protocol,underlying,haircut",
            "USD,none,none,USD,0",
            "WETH,ethereum,none,ETH,0.1",
        ],
        "collateral": [
            "account,asset,chain,protocol,quantity",
            *(
                f"{account},{asset},{'none' if asset == 'USD' else 'ethereum'},none,{quantity}"
                for account, (asset, quantity) in COLLATERAL.items()
            ),
        ],
    }
    for name, lines in files.items():
        (source / f"{name}.csv").write_text("\n".join(lines) + "\n")
    import_book(source, folder / "book", as_of=sample_market().as_of)
    return Book.open(folder / "book")


def test_collateral_that_is_left_out_is_counted(with_left_out, margin_of):
    done = margin_of(with_left_out)
    found = held_back(done.run)
    totals = found.totals
    ether = done.run.manifest["index"]["ETH"]
    assert totals["accounts_left_out"] == 2
    assert totals["collateral_set_aside"] == pytest.approx(50_000_250.0 + 2.5 * 0.9 * ether)
    assert totals["collateral_rows_not_valued"] == 1
    parts = ("margined", "held", "set_aside")
    assert totals["collateral_in"] == sum(totals[f"collateral_{part}"] for part in parts)
    codes = {one["code"]: one for one in found.codes}
    assert codes["UNKNOWN_ACCOUNT"]["collateral_set_aside"] == 250.0
    assert codes["REFERENCE_QUARANTINED"]["collateral_set_aside"] > 50e6
    assert codes["NUMBER_INVALID"]["collateral_rows_not_valued"] == 1


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (0.001, r"of collateral are held back \(USD 50,00"),
        (0.99999999, "is not known, .* that lack asset, quantity or price: 1;"),
    ],
)
def test_collateral_that_is_left_out_is_under_the_limit_of_money(
    with_left_out, margin_of, limit, said
):
    with pytest.raises(TooMuchHeldBack, match=said):
        margin_of(with_left_out, most_money_held_back=limit)


def test_what_the_book_holds_back_is_refused_before_anything_is_computed(
    mixed_book, small_methodology, tmp_path
):
    engine = SerialEngine()
    request = RunRequest(
        book=mixed_book.location,
        methodology=str(small_methodology),
        runs=tmp_path,
        most_held_back=0.01,
    )
    with (
        MarginRun(request, lambda: engine, lambda: engine) as run,
        pytest.raises(TooMuchHeldBack, match=r"\(2 of 60\)"),
    ):
        run.prepare()
    assert RunStore(tmp_path).unfinished() == []


def test_an_empty_cell_is_named_and_a_row_without_a_cell_is_not(capsys):
    row = {"account": "a", "dataset": "positions", "row": "a / b", "action": "correct it"}
    cell = {"code": "NUMBER_INVALID", "field": "quantity", "value": "", "allowed": "a number"}
    none = {"code": "PRICE_MISSING", "field": "price", "value": "", "allowed": "it has no price"}
    rows = pa.Table.from_pylist([row | cell, row | none])
    print_held_rows(HeldBack([], rows, {}), 10)
    assert capsys.readouterr().out.splitlines() == [
        "NUMBER_INVALID positions a / b: quantity is empty, allowed is a number; correct it",
        "PRICE_MISSING positions a / b: it has no price; correct it",
    ]
