"""Claims from outside: good files come in exactly, every fault has its name, none a traceback."""

import io
import itertools
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.claims import Claims, ClaimsExist
from storage.intake.claims import import_claims
from storage.intake.identities import identities
from storage.quarantine import CODES, DatasetRefused
from tests.storage.claim_files import ACCOUNTS, GOOD, hexadecimal, small_book, spoilt, write_files

ETH_CLAIM, RECEIPT, DEBT, POOL, DEPOSIT = 2, 3, 4, 5, 6
"""Lines of the file of claims."""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return small_book(tmp_path_factory.mktemp("book") / "book")


def take(book, tmp_path, files):
    return import_claims(book, write_files(tmp_path / "in", files), tmp_path / "out")


def held(report):
    return {ACCOUNTS[row]: code for row, code in _held_rows(Claims.open(report.path))}


def _held_rows(claims):
    table = claims.held_reasons().to_pydict()
    return zip(table["account"], table["code"], strict=True)


def test_good_files_come_in_as_they_are(book, tmp_path):
    report = take(book, tmp_path, GOOD)
    assert dict(report.counts) == {}
    assert {count.dataset: count.accepted for count in report.datasets} == {
        name: len(content.splitlines()) - 1 for name, content in GOOD.items()
    }
    claims = Claims.open(report.path)
    claims.verify()
    references = claims.references()
    names = references.tokens["token"].to_pylist()
    found = claims.claim_slice(0, 3)
    assert np.diff(found.offsets).tolist() == [2, 2, 3]
    # Within an account what is outside markets comes first, then tokens as they are listed.
    assert [names[token] for token in found.token] == [
        "ETH", "USD", "debtUSDC", "hWETH", "USDC", "WETH", "WETH-USDC",
    ]  # fmt: skip
    assert found.quantity.tolist() == [1.5, 1000.25, 9000.5, 10.0, 300.0, 2.0, 3.0]
    assert found.encumbered.tolist() == [0.5, 0.0, 0.0, 0.0, 300.0, 0.0, 0.0]
    assert found.market.tolist() == [-1, -1, 0, 0, -1, -1, -1]
    assert found.standing.tolist() == [0, 1, 0, 0, 2, 2, 2]
    assert found.backing.tolist() == [-1] * 6 + [4]
    assert found.height.tolist() == [18961936, 0, *[18961936] * 3, 167595904, 18961936]
    assert [root.tobytes().hex() for root in found.root] == [
        hexadecimal(number) for number in (2, 1, 4, 3, 6, 7, 5)
    ]
    assert found.proof.any(axis=1).tolist() == [True, False, True, True, False, False, False]
    assert references.chains["chain"].to_pylist() == ["none", "Arbitrum", "Ethereum"]
    assert held(report) == {}


def test_parquet_is_read_as_csv_is(book, tmp_path):
    expected = take(book, tmp_path / "csv", GOOD)
    folder = tmp_path / "parquet" / "in"
    folder.mkdir(parents=True)
    for name, content in GOOD.items():
        table = pacsv.read_csv(
            io.BytesIO(content.encode()),
            convert_options=pacsv.ConvertOptions(
                column_types={
                    "root": pa.string(), "proof": pa.string(), "quantity": pa.string(),
                    "claim": pa.string(), "backing": pa.string(), "asset": pa.string(),
                    "market": pa.float64() if name == "feeds" else pa.string(),
                }
            ),
        )  # fmt: skip
        pq.write_table(table, folder / f"{name}.parquet")
    found = import_claims(book, folder, tmp_path / "parquet" / "out")
    assert Claims.open(found.path).digest == Claims.open(expected.path).digest


@pytest.mark.parametrize(
    ("where", "code", "holds"),
    [
        (("claims", ETH_CLAIM, "token", "stETH"), "UNKNOWN_TOKEN", "a"),
        (("claims", ETH_CLAIM, "chain", "Polygon"), "UNKNOWN_TOKEN", "a"),
        (("claims", ETH_CLAIM, "bridge", "keelway"), "UNKNOWN_TOKEN", "a"),
        (("claims", ETH_CLAIM, "token", "eth"), "KEY_NORMALISATION", "a"),
        (("claims", ETH_CLAIM, "chain", "ethereum"), "KEY_NORMALISATION", "a"),
        (("claims", ETH_CLAIM, "account", "A"), "KEY_NORMALISATION", "refused"),
        (("tokens", 4, "chain", "ethereum"), "KEY_NORMALISATION", "b c"),
        (("claims", ETH_CLAIM, "account", "z"), "UNKNOWN_ACCOUNT", ""),
        (("claims", ETH_CLAIM, "quantity", "-1"), "QUANTITY_NEGATIVE", "a"),
        (("claims", ETH_CLAIM, "quantity", "many"), "NUMBER_INVALID", "a"),
        (("claims", ETH_CLAIM, "quantity", "2" + "0" * 18), "QUANTITY_RANGE", "a"),
        (("claims", DEBT, "quantity", "2" + "0" * 300), "QUANTITY_RANGE", "b"),
        (("claims", DEPOSIT, "quantity", "300.1234567"), "QUANTITY_DECIMALS", "c"),
        (("claims", DEBT, "quantity", "-9000"), "DEBT_NEGATIVE", "b"),
        (("claims", DEBT, "encumbered", "1"), "ENCUMBERED_RANGE", "b"),
        (("claims", ETH_CLAIM, "encumbered", "1.6"), "ENCUMBERED_RANGE", "a"),
        (("claims", ETH_CLAIM, "encumbered", "-0.1"), "ENCUMBERED_RANGE", "a"),
        (("claims", RECEIPT, "market", "other"), "UNKNOWN_MARKET", "b"),
        (("claims", RECEIPT, "market_protocol", ""), "UNKNOWN_MARKET", "b"),
        (("claims", ETH_CLAIM, "root", ""), "ROOT_MISSING", "a"),
        (("claims", ETH_CLAIM, "root", "0" * 32), "ROOT_MISSING", "a"),
        (("claims", ETH_CLAIM, "root", "0xzz"), "HEX_INVALID", "a"),
        (("claims", ETH_CLAIM, "root", "ab" * 15), "HEX_INVALID", "a"),
        (("claims", ETH_CLAIM, "proof", "12"), "HEX_INVALID", "a"),
        (("claims", ETH_CLAIM, "proof", ""), "PROOF_MISSING", "a"),
        (("claims", ETH_CLAIM, "height", ""), "HEIGHT_MISSING", "a"),
        (("claims", ETH_CLAIM, "height", "1.5"), "HEIGHT_MISSING", "a"),
        (("claims", ETH_CLAIM, "height", "-1"), "HEIGHT_MISSING", "a"),
        (("claims", ETH_CLAIM, "height", "18962001"), "HEIGHT_ABOVE_HEAD", "a"),
        (("claims", 1, "height", "5"), "HEIGHT_ABOVE_HEAD", "a"),
        (("claims", ETH_CLAIM, "standing", "sworn"), "ENUM_UNKNOWN", "a"),
        (("claims", POOL, "backing", "nobody"), "UNKNOWN_BACKING", "c"),
        (("claims", POOL, "backing", "lp"), "UNKNOWN_BACKING", "c"),
        (("claims", POOL, "claim", "deposit"), "CLAIM_TWICE", "c"),
        (("tokens", 4, "chain", "Polygon"), "UNKNOWN_CHAIN", "b c"),
        (("tokens", 4, "kind", "aToken"), "ENUM_UNKNOWN", "b c"),
        (("tokens", 4, "decimals", "8"), "DECIMALS_MISMATCH", "b c"),
        (("tokens", 4, "decimals", "-1"), "DECIMALS_MISMATCH", "b c"),
        (("tokens", 4, "asset", "ETH"), "TERMS_MISMATCH", "b c"),
        (("tokens", 5, "bridge", "none"), "BRIDGE_MISSING", "c"),
        (("tokens", 6, "protocol", "none"), "PROTOCOL_MISSING", "b"),
        (("tokens", 8, "protocol", "none"), "PROTOCOL_MISSING", "c"),
        (("tokens", 2, "asset", "BTC"), "UNKNOWN_FEED", "a b c"),
        (("tokens", 2, "asset", ""), "UNKNOWN_FEED", "a b c"),
        (("tokens", 6, "kind", "liquidity"), "RECIPE_ROWS", "b"),
        (("tokens", 5, "token", "WETH.e"), "WRAPPER_UNKNOWN", "c"),
        (("recipes", 1, "of", "WETH"), "RECIPE_SELF", "b c"),
        (("recipes", 1, "of", "stETH"), "UNKNOWN_TOKEN", "b c"),
        (("recipes", 1, "of", "debtUSDC"), "UNKNOWN_TOKEN", "b c"),
        (("recipes", 1, "units", "0"), "RECIPE_UNITS", "b c"),
        (("recipes", 1, "units", "-1"), "RECIPE_UNITS", "b c"),
        (("recipes", 1, "units", "1" + "0" * 13), "RECIPE_UNITS", "b c"),
        (("recipes", 1, "units", "0." + "0" * 12 + "1"), "RECIPE_UNITS", "b c"),
        (("feeds", 2, "oracle_time", ""), "FEED_TIME", "a b c"),
        (("feeds", 2, "market_time", ""), "FEED_TIME", "a b c"),
        (("feeds", 2, "market_time", "2024-01-08T11:19:42Z"), "FUTURE_DATA", "a b c"),
        (("feeds", 2, "oracle", "0"), "PRICE_NON_POSITIVE", "a b c"),
        (("feeds", 2, "oracle", ""), "PRICE_MISSING", "a b c"),
        (("feeds", 2, "market", "inf"), "PRICE_NOT_FINITE", "a b c"),
        (("feeds", 2, "heartbeat", "0"), "NUMBER_INVALID", "a b c"),
        (("chains", 2, "safe", "167600001"), "CHAIN_HEIGHTS", "c"),
        (("chains", 2, "finalised", "-5"), "CHAIN_HEIGHTS", "c"),
        (("chains", 2, "height", "1.5"), "CHAIN_HEIGHTS", "c"),
        (("chains", 2, "block_time", "0"), "NUMBER_INVALID", "c"),
        (("chains", 2, "block_time", "-12"), "NUMBER_INVALID", "c"),
        (("chains", 2, "chain", "none"), "CHAIN_HEIGHTS", "c"),
        (("chains", 2, "time", "2025-01-01T00:00:00Z"), "FUTURE_DATA", "c"),
        (("markets", 1, "loan_to_value", "80"), "MARKET_TERMS", "b"),
        (("markets", 1, "loan_to_value", "0.84"), "MARKET_TERMS", "b"),
        (("markets", 1, "liquidation_bonus", "1.05"), "MARKET_TERMS", "b"),
        (("markets", 1, "token", "WETH"), "UNKNOWN_TOKEN", "b"),
        (("markets", 1, "token", "debtUSDC"), "MARKET_TERMS", "b"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_a_bad_cell_is_named_and_holds_who_rests_on_it(book, tmp_path, where, code, holds):
    if holds == "refused":
        with pytest.raises(DatasetRefused, match=code):
            take(book, tmp_path, spoilt(*where))
        assert not (tmp_path / "out").exists()
        return
    report = take(book, tmp_path, spoilt(*where))
    assert code in report.counts
    assert set(held(report)) == set(holds.split())
    quarantined = sum(count.quarantined for count in report.datasets)
    assert quarantined == len(
        {(row["dataset"], row["line"]) for row in report.findings.to_pylist()}
    )
    # What the rest of the quarantine says is that it rests on a row that is named there.
    others = set(report.counts) - {code}
    assert others <= {"REFERENCE_QUARANTINED", "UNKNOWN_TOKEN", "UNKNOWN_CHAIN", "WRAPPER_UNKNOWN"}
    assert {row["severity"] for row in report.findings.to_pylist()} == {"quarantine"}


def test_another_spelling_is_told_by_field_value_and_spelling(book, tmp_path):
    report = take(book, tmp_path, spoilt("claims", ETH_CLAIM, "chain", "ETHEREUM"))
    (found,) = report.findings.to_pylist()
    assert (found["field"], found["value"], found["line"]) == ("chain", "ETHEREUM", ETH_CLAIM)
    assert found["allowed"] == "'Ethereum', as it is spelled elsewhere"


def test_a_market_on_a_chain_of_another_spelling_is_set_aside(book, tmp_path):
    report = take(book, tmp_path, spoilt("markets", 1, "chain", "ethereum"))
    assert dict(report.counts) == {"KEY_NORMALISATION": 1, "UNKNOWN_MARKET": 2}
    assert held(report) == {"b": "UNKNOWN_MARKET"}


def test_a_token_that_is_listed_in_two_spellings_of_its_chain_is_set_aside_in_one(book, tmp_path):
    tokens = GOOD["tokens"] + "ETH,ethereum,none,none,coin,ETH,18\n"
    report = take(book, tmp_path, GOOD | {"tokens": tokens})
    assert dict(report.counts) == {"KEY_NORMALISATION": 1}
    assert held(report) == {}


def test_a_report_names_the_held_accounts_with_code_and_row(book, tmp_path):
    files = spoilt("claims", DEPOSIT, "root", "")
    lines = files["claims"].splitlines()
    files["claims"] = "\n".join([*lines, lines[ETH_CLAIM]]) + "\n"
    report = take(book, tmp_path, files)
    assert report.held.to_pylist() == [
        {"account": "a", "code": "CLAIM_TWICE", "line": 8},
        {"account": "c", "code": "ROOT_MISSING", "line": DEPOSIT},
    ]


def test_a_row_that_is_there_twice_is_set_aside_once(book, tmp_path):
    lines = GOOD["claims"].splitlines()
    files = GOOD | {"claims": "\n".join([*lines, lines[ETH_CLAIM]]) + "\n"}
    report = take(book, tmp_path, files)
    assert dict(report.counts) == {"CLAIM_TWICE": 1}
    assert held(report) == {"a": "CLAIM_TWICE"}
    assert Claims.open(report.path).claims == 7


def again(line, account, quantity=None):
    """The good files with a claim of the same name at the end, or at the start, of the file."""
    header, *lines = GOOD["claims"].splitlines()
    cells = lines[line - 1].split(",")
    cells[0] = account
    cells[5] = quantity or cells[5]
    copy = ",".join(cells)
    return [GOOD | {"claims": "\n".join([header, *rows]) + "\n"}
            for rows in ([*lines, copy], [copy, *lines])]  # fmt: skip


@pytest.mark.parametrize("place", [0, 1], ids=["last", "first"])
def test_a_row_that_is_set_aside_takes_no_name(book, tmp_path, place):
    report = take(book, tmp_path, again(DEPOSIT, "nobody")[place])
    assert dict(report.counts) == {"UNKNOWN_ACCOUNT": 1}
    assert held(report) == {}
    assert Claims.open(report.path).claim_slice(0, 3).backing.tolist() == [-1] * 6 + [4]


def test_the_first_of_a_name_stands_against_another_account(book, tmp_path):
    report = take(book, tmp_path, again(DEPOSIT, "b")[0])
    assert dict(report.counts) == {"CLAIM_TWICE": 1}
    assert held(report) == {"b": "CLAIM_TWICE"}
    assert Claims.open(report.path).claim_slice(2, 3).backing.tolist() == [-1, -1, 4]


def test_of_one_name_twice_in_an_account_neither_stands(book, tmp_path):
    report = take(book, tmp_path, again(DEPOSIT, "c", "301")[0])
    assert dict(report.counts) == {"CLAIM_TWICE": 2, "REFERENCE_QUARANTINED": 1}
    assert held(report) == {"c": "CLAIM_TWICE"}


def test_two_claims_on_one_root_come_in_to_be_found_later(book, tmp_path):
    report = take(book, tmp_path, spoilt("claims", POOL, "root", hexadecimal(2)))
    assert dict(report.counts) == {}
    assert Claims.open(report.path).claims == 7


def test_recipes_that_go_round_come_in_to_be_found_later(book, tmp_path):
    files = spoilt("recipes", 1, "of", "hWETH")
    there, back = "hWETH,Ethereum,none,none,1\n", "hWETH,Ethereum,harrowgate,none,1\n"
    files["recipes"] = files["recipes"].replace(there, back)
    report = take(book, tmp_path, files)
    assert dict(report.counts) == {}


def test_nothing_can_stand_for_a_debt(book, tmp_path):
    recipes = GOOD["recipes"].replace(
        "WETH,Arbitrum,none,keelway,ETH,Ethereum,none,none,1",
        "WETH,Arbitrum,none,keelway,debtUSDC,Ethereum,harrowgate,none,1",
    )
    report = take(book, tmp_path, GOOD | {"recipes": recipes})
    assert report.counts["RECIPE_DEBT"] == 1
    assert held(report) == {"c": "REFERENCE_QUARANTINED"}


@pytest.mark.parametrize("units", ["1" + "0" * 12, "0." + "0" * 11 + "1"], ids=["huge", "tiny"])
def test_recipes_that_multiply_beyond_reason_are_named_where_they_do(book, tmp_path, units):
    """A thousand shares of shares: the first two are within, the third is not."""
    names = ["ETH", *(f"share{number}" for number in range(1_000))]
    tokens = "".join(f"{one},Ethereum,tarnwick,none,share,,18\n" for one in names[1:])
    recipes = "".join(
        f"{one},Ethereum,tarnwick,none,{of},Ethereum,{'tarnwick' if row else 'none'},none,{units}\n"
        for row, (of, one) in enumerate(itertools.pairwise(names))
    )
    files = GOOD | {"tokens": GOOD["tokens"] + tokens, "recipes": GOOD["recipes"] + recipes}
    report = take(book, tmp_path, files)
    assert report.counts["LOOK_THROUGH_RANGE"] == 1
    (found,) = (row for row in report.findings.to_pylist() if row["code"] == "LOOK_THROUGH_RANGE")
    assert found["value"] == "share2"
    assert {one.dataset: one.quarantined for one in report.datasets}["tokens"] == 998
    assert held(report) == {}


def test_a_debt_that_goes_round_is_named(book, tmp_path):
    files = spoilt("recipes", 1, "of", "hWETH")
    there, back = "hWETH,Ethereum,none,none,1\n", "hWETH,Ethereum,harrowgate,none,1\n"
    recipes = files["recipes"].replace(there, back)
    recipes = recipes.replace(
        "none,USDC,Ethereum,none,none,1.1", "none,WETH,Ethereum,none,none,1.1"
    )
    report = take(book, tmp_path, files | {"recipes": recipes})
    assert report.counts["RECIPE_DEBT"] == 1
    assert held(report) == {"b": "REFERENCE_QUARANTINED"}


def test_what_rests_on_a_claim_in_quarantine_is_set_aside(book, tmp_path):
    report = take(book, tmp_path, spoilt("claims", DEPOSIT, "root", ""))
    assert dict(report.counts) == {"REFERENCE_QUARANTINED": 1, "ROOT_MISSING": 1}


def test_long_chains_of_receipts_are_followed_to_their_end(book, tmp_path):
    header = GOOD["claims"].splitlines()[0]
    rows = [
        f"a,USD,none,none,none,1,1,,,{hexadecimal(number + 1)},,,stated,n{number},"
        + (f"n{number + 1}" if number < 99 else "gone")
        for number in range(100)
    ]
    rows.append(f"b,USD,none,none,none,1,0,,,{hexadecimal(900)},,,stated,,")
    report = take(book, tmp_path, GOOD | {"claims": "\n".join([header, *rows]) + "\n"})
    assert dict(report.counts) == {"REFERENCE_QUARANTINED": 99, "UNKNOWN_BACKING": 1}


def test_files_that_are_needed_are_asked_for(book, tmp_path):
    with pytest.raises(DatasetRefused, match="DATASET_MISSING in feeds"):
        take(book, tmp_path, {name: text for name, text in GOOD.items() if name != "feeds"})


def test_cash_alone_needs_no_chain_recipe_or_market(book, tmp_path):
    files = {name: GOOD[name] for name in ("feeds",)}
    files["tokens"] = "token,kind,asset,decimals\nUSD,cash,USD,2\n"
    files["claims"] = (
        f"account,token,quantity,root,height,standing\na,USD,5,{hexadecimal(1)},,stated\n"
    )
    report = take(book, tmp_path, files)
    assert Claims.open(report.path).claims == 1


def test_claims_all_in_quarantine_are_no_claims(book, tmp_path):
    header = GOOD["claims"].splitlines()[0]
    row = GOOD["claims"].splitlines()[1].replace(hexadecimal(1), "")
    with pytest.raises(DatasetRefused, match="EMPTY_INPUT in claims"):
        take(book, tmp_path, GOOD | {"claims": f"{header}\n{row}\n"})
    assert not (tmp_path / "out").exists()


def test_claims_are_not_overwritten(book, tmp_path):
    take(book, tmp_path, GOOD)
    with pytest.raises(ClaimsExist):
        take(book, tmp_path, GOOD)


@given(st.lists(st.one_of(st.binary(min_size=16, max_size=16), st.text(max_size=40))))
def test_identities_are_those_of_python(cells):
    texts = [cell.hex() if isinstance(cell, bytes) else cell for cell in cells]
    found, bad = identities(pa.array(texts, pa.string()))
    for text, content, wrong in zip(texts, found, bad.tolist(), strict=True):
        known = re.fullmatch(r"(0x)?([0-9a-fA-F]{32})", text) is not None and "\n" not in text
        assert wrong == (not known and text != "")
        assert content.tobytes() == (bytes.fromhex(text[-32:]) if known else bytes(16))


# Whatever is in the files, an import ends in a report or a refusal.

CELLS = st.one_of(
    st.sampled_from(
        [
            "", "none", "a", "USD", "WETH", "Ethereum", "keelway", "main", "harrowgate", "deposit",
            "lp", "proven", "stated", "debt", "coin", "-1", "0.5", "1e-3", "1e5", "1,5", "nan",
            "-inf", "1e999", "9223372036854775808", "-9223372036854775808", "36", "255",
            "0.0000000000000000000000001", "2024-01-08", "2024-01-08T11:00:00Z", "0x", "f" * 32,
            "9999-12-31T23:59:59-23:59",
        ]
    ),
    st.text(max_size=12),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.floats().map(repr),
)  # fmt: skip


def outcome(book, files, others=None):
    """Import files in a fresh folder: it ends in claims that verify, or in a refusal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for dataset, content in files.items():
            (folder / "in" / f"{dataset}.csv").write_bytes(content)
        for file, content in (others or {}).items():
            (folder / "in" / file).write_bytes(content)
        refusal: DatasetRefused | None = None
        try:
            report = import_claims(book, folder / "in", folder / "out")
        except DatasetRefused as refused:
            refusal = refused
        assert (folder / "out").exists() == (refusal is None)
        if refusal is not None:
            assert refusal.findings.refused
            assert "allowed:" in str(refusal)
            return
        assert all(one.rows == one.accepted + one.quarantined for one in report.datasets)
        assert set(report.counts) <= set(CODES)
        Claims.open(report.path).verify()


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_random_cells(book, data):
    files = {name: text.encode() for name, text in GOOD.items()}
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from(sorted(files)))
        header, *lines = GOOD[name].splitlines()
        for _ in range(data.draw(st.integers(1, 3))):
            row = data.draw(st.integers(0, len(lines) - 1))
            cells = lines[row].split(",")
            column = data.draw(st.integers(0, len(cells) - 1))
            cells[column] = '"' + data.draw(CELLS).replace('"', '""').replace(",", ".") + '"'
            changed = ",".join(cells)
            if data.draw(st.booleans()):
                lines[row] = changed
            else:
                lines.append(changed)
        text = "\n".join([header, *lines]) + "\n"
        files[name] = text.encode("utf-8", errors="surrogatepass")
    outcome(book, files)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_random_bytes(book, data):
    files = {name: text.encode() for name, text in GOOD.items()}
    name = data.draw(st.sampled_from(sorted(files)))
    content = files[name]
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 30)))
    files[name] = content[:start] + data.draw(st.binary(max_size=30)) + content[stop:]
    outcome(book, files)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_flipped_bytes_in_parquet(book, data):
    name = data.draw(st.sampled_from(sorted(GOOD)))
    header, *lines = GOOD[name].splitlines()
    rows = [line.split(",") for line in lines]
    columns = [pa.array(column) for column in zip(*rows, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, names=header.split(",")), buffer)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    files = {other: text.encode() for other, text in GOOD.items() if other != name}
    outcome(book, files, {f"{name}.parquet": bytes(content)})
