"""Bad claims from end to end: each has a named outcome in the collateral run, and never counts."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from flows.collateral_tables import print_pool
from flows.commands.collateral_explain import print_pooled_account
from storage.claims import Claims
from storage.intake.claims import import_claims
from storage.quarantine import DatasetRefused
from tests.storage.claim_files import GOOD, small_book, spoilt, write_files
from workers.pool.explain import explain_pooled

ETH_CLAIM, RECEIPT, DEBT, POOL, DEPOSIT, BRIDGED = range(2, 8)
"""Lines of the file of claims."""

MISPLACED = "receipt or debt in another market"

GUIDE = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()


@pytest.fixture(scope="module")
def margined(tmp_path_factory, margin_of):
    return margin_of(small_book(tmp_path_factory.mktemp("book") / "book"))


@pytest.fixture
def explained(margined, pool_of, tmp_path):
    """Return a function that imports files, pools them, and explains one account."""

    def take(files, account):
        book = small_book(tmp_path / "book")
        import_claims(book, write_files(tmp_path / "in", files), tmp_path / "claims")
        done = pool_of(margined, Claims.open(tmp_path / "claims"))
        return done, explain_pooled(done.pool, account, margined.request.runs)

    return take


def attested(files, *lines):
    """The same files with some claims attested, so that they count but for what is spoilt."""
    header, *rows = files["claims"].splitlines()
    for line in lines:
        rows[line - 1] = rows[line - 1].replace(",stated,", ",attested,")
    return files | {"claims": "\n".join([header, *rows]) + "\n"}


def test_good_claims_count(explained):
    done, one = explained(attested(GOOD, POOL, DEPOSIT, BRIDGED), "c")
    assert {claim["token"]: claim["outcome"] for claim in one["claims"]} == {
        "USDC": "ENCUMBERED", "WETH": "COUNTED", "WETH-USDC": "COUNTED",
    }  # fmt: skip
    assert done.manifest["totals"]["held"] == 0
    assert one["credit"] > 0.0


# What is spoilt, whose claim it is, and the outcome of that claim.
OUTCOMES = {
    "unfinalised block": (("claims", ETH_CLAIM, "height", "18961990"), "ETH", "NOT_FINAL"),
    "skewed snapshot": (("claims", ETH_CLAIM, "height", "18900000"), "ETH", "HEIGHT_SKEWED"),
    "stale oracle": (("feeds", 2, "oracle_time", "2024-01-07T11:19:00Z"), "ETH", "STALE_PRICE"),
    "stale market": (("feeds", 2, "market_time", "2024-01-07T11:19:00Z"), "ETH", "STALE_PRICE"),
    "two prices apart": (("feeds", 2, "market", "2000"), "ETH", "PRICE_DEVIATES"),
    "one deposit twice": (("claims", RECEIPT, "root", f"{2:032x}"), "ETH", "ROOT_TWICE"),
    "one proof twice": (("claims", RECEIPT, "proof", f"{12:032x}"), "ETH", "PROOF_TWICE"),
    "nothing free": (("claims", ETH_CLAIM, "encumbered", "1.5"), "ETH", "ENCUMBERED"),
    "only said": (("claims", ETH_CLAIM, "standing", "stated"), "ETH", "NOT_PROVEN"),
}


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_claim_that_lacks_something_comes_in_and_does_not_count(explained, fault):
    where, token, outcome = OUTCOMES[fault]
    done, one = explained(spoilt(*where), "a")
    (claim,) = [claim for claim in one["claims"] if claim["token"] == token]
    assert (claim["outcome"], claim["units"], claim["credit"]) == (outcome, 0.0, 0.0)
    assert done.manifest["totals"]["outcomes"][outcome] > 0
    assert one["status"] == "pooled"
    assert named_in_the_guide(fault, outcome)


def test_both_wrapper_and_wrapped_pledged(explained):
    files = attested(spoilt("claims", DEPOSIT, "encumbered", "0"), POOL, DEPOSIT, BRIDGED)
    _, one = explained(files, "c")
    outcomes = {claim["token"]: claim["outcome"] for claim in one["claims"]}
    assert outcomes == {"USDC": "BACKING_TWICE", "WETH-USDC": "BACKING_TWICE", "WETH": "COUNTED"}
    assert named_in_the_guide("wrapper and wrapped both pledged", "BACKING_TWICE")


# What is spoilt, whose claim it is, and the code for which the account is held back.
CODES = {
    "wrong decimals": (("claims", DEPOSIT, "quantity", "300.1234567"), "c", "QUANTITY_DECIMALS"),
    "unknown wrapper": (("tokens", 5, "token", "WETH.e"), "c", "UNKNOWN_TOKEN"),
    "negative debt": (("claims", DEBT, "quantity", "-9000"), "b", "DEBT_NEGATIVE"),
    "missing root": (("claims", ETH_CLAIM, "root", ""), "a", "ROOT_MISSING"),
    "proof that is not there": (("claims", ETH_CLAIM, "proof", ""), "a", "PROOF_MISSING"),
    "block to come": (("claims", ETH_CLAIM, "height", "18962001"), "a", "HEIGHT_ABOVE_HEAD"),
    "unknown token": (("claims", ETH_CLAIM, "token", "stETH"), "a", "UNKNOWN_TOKEN"),
}


@pytest.mark.parametrize("fault", CODES)
def test_a_row_that_cannot_be_read_holds_its_account_back(explained, fault):
    where, account, code = CODES[fault]
    done, one = explained(spoilt(*where), account)
    assert one["status"] == "held back"
    assert any(reason.startswith(f"{code},") for reason in one["held_because"])
    assert done.manifest["totals"]["held"] == 1
    assert "credit" not in one
    assert named_in_the_guide(fault, code)


def named_in_the_guide(fault, name):
    """Whether the guide's table of bad input has the fault with the outcome or code."""
    section = GUIDE.split("## What happens to bad input")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| `(\w+)`", section, re.M)
    return (fault, name) in rows


def test_a_receipt_written_outside_of_its_market_holds_its_account_back(explained):
    files = spoilt("claims", RECEIPT, "market", "")
    header, *rows = files["claims"].splitlines()
    rows[RECEIPT - 1] = rows[RECEIPT - 1].replace(",harrowgate," + f"{3:032x}", f",,{3:032x}")
    done, one = explained(files | {"claims": "\n".join([header, *rows]) + "\n"}, "b")
    assert one["status"] == "held back"
    (reason,) = one["held_because"]
    assert "outside of the market that its token belongs to" in reason
    assert done.manifest["totals"]["misplaced"] == 1
    assert named_in_the_guide(MISPLACED, "misplaced")
    shown = io.StringIO()
    print_pool(Console(file=shown, width=140), done.manifest)
    assert "2 (1 held back, 1 of them misplaced)" in shown.getvalue()


def test_a_debt_beyond_what_backs_it_is_owed_by_the_account(explained):
    """As whoever writes a debt apart from its receipts would have it."""
    _, one = explained(spoilt("claims", RECEIPT, "quantity", "0.5"), "b")
    (position,) = one["lending"]
    assert position["debt"] == pytest.approx(9000.5 * 1.1 * 1.0)
    assert position["worth"] == pytest.approx(0.5 * 1.05 * 2221.5)
    assert position["unbacked"] == pytest.approx(position["debt"] - position["worth"])
    assert one["credit"] == -position["unbacked"]
    # Its block is safe and not final, so half of the receipt counts.
    assert one["value"] == pytest.approx(0.5 * position["worth"] - position["debt"])
    shown = io.StringIO()
    print_pooled_account(Console(file=shown, width=140), one)
    line = f"which the account owes +{position['unbacked']:,.2f}"
    assert re.search(line, shown.getvalue())


def test_claims_like_their_book_are_not_spoken_of(explained):
    done, _ = explained(GOOD, "a")
    assert done.manifest["totals"]["unlike_book"] == 0


def test_a_quantity_in_base_units_is_spoken_of(explained):
    done, _ = explained(spoilt("claims", 1, "quantity", "1000250000"), "a")
    assert done.manifest["totals"]["unlike_book"] == 1


def test_an_account_without_claims_has_what_its_positions_require(explained):
    header, *rows = GOOD["claims"].splitlines()
    done, one = explained(GOOD | {"claims": f"{header}\n{rows[RECEIPT - 1]}\n"}, "a")
    totals = done.manifest["totals"]
    assert (totals["accounts"], totals["claims"], totals["counted"]) == (3, 1, 1)
    assert (one["claims"], one["lending"], one["credit"]) == ([], [], 0.0)
    assert one["requirement"] == one["requirement_alone"] > 0.0


def test_claims_of_which_none_can_be_read_are_refused(explained):
    """Nothing wrong was found where nothing was looked at: that is no all-clear."""
    header, *rows = spoilt("claims", RECEIPT, "root", "")["claims"].splitlines()
    with pytest.raises(DatasetRefused, match="EMPTY_INPUT in claims"):
        explained(GOOD | {"claims": f"{header}\n{rows[RECEIPT - 1]}\n"}, "a")


def test_every_row_of_the_guide_is_tried():
    """Outcomes and codes here, the rest in the tests that the table names."""
    section = GUIDE.split("## What happens to bad input")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| `(\w+)`[^|]*\| [^|]+ \| `([^`]+)` \|$", section, re.M)
    here = "tests/failures/test_bad_input_pool.py"
    mine = {fault for fault, _, place in rows if place == here}
    assert mine == {*OUTCOMES, *CODES, "wrapper and wrapped both pledged", MISPLACED}
    root = Path(__file__).parents[2]
    for _, name, place in rows:
        assert name in (root / place).read_text(), (name, place)
