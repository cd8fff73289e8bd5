"""Holdings joined to claims, from signed files to a collateral run: a word is not a proof."""

import json

import numpy as np
import pytest

from risk.proofs.holding import identity
from risk.proofs.outcome import ProofOutcome
from storage.claims import Claims
from storage.intake.claims import import_claims
from storage.proof_codes import PROOF_CODES
from storage.tables import STANDINGS
from tests.risk.proofs.chain import (
    CHAIN,
    HEIGHT,
    OWNER,
    STRANGER,
    TOKEN,
    Chain,
    address_of,
    attestation,
    changed,
    hexed,
    ownership,
)
from tests.storage.claim_files import GOOD, NOW, hexadecimal, small_book, write_files
from workers.claims.verdicts import verdicts_of
from workers.engine import SerialEngine
from workers.pool.explain import explain_pooled
from workers.proofs import judge_folder, load_trusted

HEADER = (
    "account,token,chain,protocol,bridge,quantity,encumbered,owner,root,proof,height,standing\n"
)
NAMES = {"chains": [{"chain": CHAIN, "name": "Ethereum", "coin": "ETH"}]}
AT_THE_BLOCK = GOOD | {
    "chains": (
        "chain,height,safe,finalised,time,block_time\n"
        f"Ethereum,{HEIGHT + 100},{HEIGHT + 10},{HEIGHT},{NOW},12\n"
        f"Arbitrum,167600000,167599000,167595904,{NOW},0.26\n"
    )
}
OWNED = identity(CHAIN, TOKEN, address_of(OWNER))


@pytest.fixture(scope="module")
def chain():
    return Chain()


@pytest.fixture(scope="module")
def trusted(chain):
    """What the pool trusts, its token and coin named as the claims name them."""
    document = chain.trusted()
    document["tokens"][0]["token"] = "USDC"
    return document | NAMES


@pytest.fixture
def held(chain):
    """A holding of 2.5 USDC of account ``a``, in order: a proof and the owner's signature."""
    return changed(chain.holding(), account="a", ownership=ownership(account="a"))


@pytest.fixture
def brought_in(tmp_path, trusted):
    """Return a function that judges holdings, joins them to claims, and imports these."""
    (tmp_path / "trusted.json").write_text(json.dumps(trusted))
    pool = load_trusted(tmp_path / "trusted.json")
    book = small_book(tmp_path / "book")

    def take(holdings, *claims, files=GOOD):
        folder = tmp_path / "holdings"
        folder.mkdir()
        for name, document in holdings.items():
            (folder / f"{name}.json").write_text(json.dumps(document))
        judged = judge_folder(folder, pool, SerialEngine())
        verdicts = verdicts_of(judged, pool, tmp_path / "trusted.json")
        written = files | {"claims": HEADER + "\n".join(claims) + "\n"}
        source = write_files(tmp_path / "in", written)
        return import_claims(book, source, tmp_path / "out", verdicts=verdicts)

    return take


def claim(
    account="a", quantity="2.5", *, token="USDC", owner="", root="", proof="", standing="proven",
    height="18961936",
):  # fmt: skip
    held = f"{account},{token},Ethereum,none,none,{quantity},0"
    return f"{held},{owner},{root},{proof},{height},{standing}"


CASH = f"c,USD,none,none,none,1000,0,,{hexadecimal(1)},,,stated"
"""A claim that is in order and needs no holding, so that the claims are never empty."""


def stored(report, account):
    """The claims of one account as they were kept."""
    row = "abc".index(account)
    return Claims.open(report.path).claim_slice(row, row + 1)


def found(report):
    return [
        (one["code"], one["severity"], one["row"], one["value"])
        for one in report.findings.to_pylist()
    ]


def words(identity_of_16_bytes):
    return np.frombuffer(identity_of_16_bytes, np.uint64).tolist()


def test_a_proven_holding_gives_its_claim_standing_root_proof_and_height(brought_in, held):
    """Whatever the claim says of them."""
    said = claim(root=hexadecimal(9), proof=hexadecimal(8), standing="stated")
    report = brought_in({"one": held}, said, CASH)
    kept = stored(report, "a")
    assert found(report) == []
    assert kept.standing.tolist() == [STANDINGS.index("proven")]
    assert kept.root.tolist() == [words(OWNED)]
    assert kept.proof.any()
    assert kept.proof.tolist() != [words(bytes.fromhex(hexadecimal(8)))]
    assert kept.height.tolist() == [HEIGHT]


def test_a_claim_may_leave_all_of_it_to_its_holding(brought_in, held):
    report = brought_in({"one": held}, claim(height="", standing="stated"), CASH)
    assert found(report) == []
    assert stored(report, "a").height.tolist() == [HEIGHT]


def test_the_coin_of_a_chain_is_matched_by_its_name(brought_in, chain):
    coin = changed(
        chain.holding(token=None, quantity="5", decimals=18),
        account="a",
        ownership=ownership(account="a"),
    )
    report = brought_in({"coin": coin}, claim(token="ETH", quantity="5.0"), CASH)
    assert found(report) == []
    assert stored(report, "a").standing.tolist() == [STANDINGS.index("proven")]


def test_sixteen_bytes_are_no_proof(brought_in, held):
    """A claim that says it is proven and has no holding comes in as stated, and is told."""
    lone = claim("b", root=hexadecimal(5), proof=hexadecimal(6))
    attested = claim("b", "7", token="ETH", root=hexadecimal(7), standing="attested")
    report = brought_in({"one": held}, claim(), lone, attested, CASH)
    kept = stored(report, "b")
    assert found(report) == [
        ("STANDING_NOT_SHOWN", "warn", "b / USDC / Ethereum", "proven"),
        ("STANDING_NOT_SHOWN", "warn", "b / ETH / Ethereum", "attested"),
    ]
    assert kept.standing.tolist() == [STANDINGS.index("stated")] * 2
    assert not kept.proof.any()
    assert report.counts == {"STANDING_NOT_SHOWN": 2}
    assert report.held_accounts == 0


def test_an_attestation_is_no_proof_either(brought_in, held):
    document = changed(
        held, answer=None, ownership=None, height=None, attestation=attestation(account="a")
    )
    report = brought_in({"one": document}, claim(proof=hexadecimal(6)), CASH)
    kept = stored(report, "a")
    assert [(code, value) for code, _, _, value in found(report)] == [
        ("STANDING_NOT_SHOWN", "proven")
    ]
    assert kept.standing.tolist() == [STANDINGS.index("attested")]
    assert (kept.root.tolist(), kept.proof.any()) == ([words(OWNED)], False)
    assert kept.height.tolist() == [18961936]  # no block is attested


REFUSED = {
    "another epoch": ({"ownership": ownership(account="a", epoch=6)}, "SIGNATURE_OTHER_EPOCH"),
    "another pool": ({"ownership": ownership(account="a", pool="x")}, "SIGNATURE_OTHER_POOL"),
    "another balance": ({"quantity": "9"}, "VALUE_DIFFERS"),
    "no signature": ({"ownership": None}, "SIGNATURE_MISSING"),
    "another block": ({"height": HEIGHT + 1}, "HEIGHT_SKEWED"),
}


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("standing", STANDINGS)
def test_a_refused_holding_sets_its_claim_aside_by_name(brought_in, held, fault, standing):
    fields, outcome = REFUSED[fault]
    said = claim(root=hexadecimal(5), proof=hexadecimal(6), standing=standing)
    report = brought_in({"one": changed(held, **fields)}, said, CASH)
    ((code, severity, row, value),) = found(report)
    assert (code, severity, row) == (outcome, "quarantine", "a / USDC / Ethereum")
    assert value.startswith(f"{outcome} in one.json, ")
    assert report.held_accounts == 1
    assert not len(stored(report, "a").token)


def test_no_attestation_mends_a_proof_that_does_not_hold(brought_in, held):
    attested = changed(
        held, answer=None, ownership=None, height=None, attestation=attestation(account="a")
    )
    bad = changed(held, ownership=ownership(account="a", by=STRANGER))
    report = brought_in({"1": attested, "2": bad}, claim(), CASH)
    assert [code for code, *_ in found(report)] == ["SIGNER_DIFFERS"]


@pytest.mark.parametrize("quantity", ["2.49", "2.6", "250", "2.500001", "9" * 25])
def test_a_claim_of_another_quantity_is_set_aside(brought_in, held, quantity):
    report = brought_in({"one": held}, claim(quantity=quantity), CASH)
    ((code, _, _, value),) = found(report)
    assert (code, value) == ("QUANTITY_NOT_SHOWN", f"{quantity}, one.json shows 2.5")
    assert report.held_accounts == 1


def test_quantities_are_equal_however_they_are_written(brought_in, held):
    assert found(brought_in({"one": held}, claim(quantity="2.500000"), CASH)) == []


def test_owners_tell_two_holdings_of_one_account_apart(brought_in, held, trusted, chain):
    """Without them nothing is shown of either; the stranger holds none of the token."""
    other = changed(
        chain.holding(quantity="0", owner=STRANGER),
        account="a",
        ownership=ownership(STRANGER, account="a"),
    )
    both = {"one": held, "two": other}
    claims = (
        claim(owner=hexed(address_of(OWNER)).upper().replace("0X", "0x")),
        claim(quantity="0", owner=hexed(address_of(STRANGER))),
    )
    report = brought_in(both, *claims, CASH)
    assert found(report) == []
    assert {tuple(one) for one in stored(report, "a").root.tolist()} == {
        tuple(words(identity(CHAIN, TOKEN, address_of(one)))) for one in (OWNER, STRANGER)
    }


def test_a_claim_of_several_owners_must_name_one(brought_in, held, chain):
    other = changed(
        chain.holding(quantity="0", owner=STRANGER),
        account="a",
        ownership=ownership(STRANGER, account="a"),
    )
    report = brought_in({"one": held, "two": other}, claim(root=hexadecimal(5)), CASH)
    assert [(code, row) for code, _, row, _ in found(report)] == [
        ("STANDING_NOT_SHOWN", "a / USDC / Ethereum"),
        ("HOLDING_UNUSED", "one.json"),
        ("HOLDING_UNUSED", "two.json"),
    ]


@pytest.mark.parametrize(
    "said",
    [
        claim("b", root=hexadecimal(5)),
        claim(token="ETH", root=hexadecimal(5)),
        claim(owner=hexed(bytes(20)), root=hexadecimal(5)),
        f"a,WETH,Ethereum,none,none,2.5,0,,{hexadecimal(5)},,18961936,proven",
        f"a,WETH,Arbitrum,none,keelway,2.5,0,,{hexadecimal(5)},,167595904,proven",
    ],
    ids=["account", "coin", "owner", "token", "chain"],
)
def test_a_holding_shows_no_other_claim(brought_in, held, said):
    report = brought_in({"one": held}, said, CASH)
    assert report.counts == {"HOLDING_UNUSED": 1, "STANDING_NOT_SHOWN": 1}
    assert STANDINGS.index("proven") not in stored(report, said[0]).standing


def test_an_owner_that_is_no_address_is_set_aside(brought_in, held):
    report = brought_in({"one": held}, claim(owner="0x12", root=hexadecimal(5)), CASH)
    assert ("HEX_INVALID", "0x12") in [(code, value) for code, _, _, value in found(report)]


def test_files_that_cannot_be_read_and_tokens_without_a_name_are_told(brought_in, held, chain):
    unnamed = changed(held, token=hexed(bytes([0xBB] * 20)))
    report = brought_in({"bad": {}, "bare": chain.answer(TOKEN), "unnamed": unnamed}, CASH)
    assert [(row, value.split(" in ")[0]) for _, _, row, value in found(report)] == [
        ("bad.json", "MALFORMED"), ("bare.json", "PROVEN"), ("unnamed.json", "ADDRESS_DIFFERS"),
    ]  # fmt: skip
    assert set(report.counts) == {"HOLDING_UNUSED"}


def test_one_holding_for_two_claims_is_one_deposit_twice(brought_in, held, margin_of, pool_of):
    """As two accounts cannot sign for one balance, so two rows of one account cannot."""
    first = claim()
    second = first.replace(",2.5,0,", ",2.5,1,")
    report = brought_in({"one": held}, first, second, CASH)
    done, explained = pooled(report, margin_of, pool_of)
    assert [one["outcome"] for one in explained["claims"]] == ["PROOF_TWICE"] * 2
    twice = done.manifest["totals"]["double_counts"]
    assert (twice["roots"], twice["proofs"]) == (1, 1)


def test_what_is_shown_counts_and_what_is_said_does_not(brought_in, held, margin_of, pool_of):
    """From the signed holding to the credit of the account, at a block that the chain has now."""
    lone = claim("b", root=hexadecimal(5), proof=hexadecimal(6), height=HEIGHT)
    report = brought_in({"one": held}, claim(), lone, CASH, files=AT_THE_BLOCK)
    done, explained = pooled(report, margin_of, pool_of)
    (one,) = explained["claims"]
    assert (one["standing"], one["outcome"], one["units"]) == ("proven", "COUNTED", 2.5)
    assert one["credit"] > 0.0
    assert done.manifest["inputs"]["claims"]["standing"] == "judged"
    assert done.manifest["totals"]["outcomes"]["NOT_PROVEN"] == 2  # the other, and the cash
    by_standing = done.pool.groups["totals"]["credit_by_standing"]
    assert float(by_standing.sel(standing="proven")) == done.manifest["totals"]["credit"] > 0.0


def pooled(report, margin_of, pool_of):
    margined = margin_of(small_book(report.path.parent / "again"))
    done = pool_of(margined, Claims.open(report.path))
    return done, explain_pooled(done.pool, "a", margined.request.runs)


def test_the_manifest_says_by_what_the_claims_were_judged(brought_in, held, trusted, tmp_path):
    report = brought_in({"one": held}, claim(), CASH)
    claims = Claims.open(report.path)
    assert claims.standing == claims.manifest["standing"] == "judged"
    source = claims.manifest["source"]["proofs"]
    assert (source["pool"], source["epoch"], source["holdings"]) == ("main", 7, 1)
    assert len(source["anchors"]["sha256"]) == 64
    plain = import_claims(small_book(tmp_path / "two"), tmp_path / "in", tmp_path / "said")
    assert Claims.open(plain.path).standing == "as said"
    assert "proofs" not in Claims.open(plain.path).manifest["source"]


def test_codes_are_the_refusals_of_proofs():
    assert {code.name: code.meaning for code in PROOF_CODES} == {
        one.name: one.value for one in ProofOutcome if one.refuses
    }


def test_a_name_for_two_contracts_is_refused(chain, trusted, tmp_path):
    twice = [one | {"token": "USDC"} for one in chain.trusted()["tokens"]]
    (tmp_path / "trusted.json").write_text(json.dumps(trusted | {"tokens": twice}))
    with pytest.raises(ValueError, match=r"names of tokens has .*USDC.* twice"):
        load_trusted(tmp_path / "trusted.json")
