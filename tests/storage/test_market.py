import json
import shutil
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from storage.market import IndexPrice, Market, MarketInvalid, sample_market, write_market
from storage.tables import PRICES, QUOTES

AS_OF = datetime(2024, 1, 8, 11, 19, 41, tzinfo=UTC)
CHAIN_INDEX = IndexPrice(2222.19, AS_OF, "chain")


@pytest.fixture
def written(tmp_path):
    sample = sample_market()
    prices = sample.prices().filter(
        pc.greater(sample.prices()["timestamp"], pa.scalar(AS_OF - timedelta(days=3)))
    )
    write_market(tmp_path / "m", sample.quotes(), prices, AS_OF, {"ETH": CHAIN_INDEX})
    return tmp_path / "m"


def test_sample_is_the_chain_of_2024_01_08():
    market = sample_market()
    assert market.as_of == AS_OF
    assert market.underlyings == ["BTC", "ETH", "SOL"]
    quotes, prices = market.quotes(), market.prices()
    assert quotes.schema.equals(QUOTES.schema)
    assert prices.schema.equals(PRICES.schema)
    assert (quotes.num_rows, prices.num_rows) == (684, 152_421)
    assert len(pc.unique(quotes["expiry"])) == 11
    assert pc.sum(quotes["open_interest"]).as_py() == 2_337_624.0


def test_sample_prices_are_at_the_end_of_their_hour():
    """The worst hour of 2020-03-12 (bar open 10:00 UTC) closes at 11:00, BTC 18.7 % lower."""
    prices = sample_market().prices()
    btc = prices.filter(pc.equal(prices["underlying"], "BTC"))
    close = dict(zip(btc["timestamp"].to_pylist(), btc["close"].to_pylist(), strict=True))
    moves = {at: close[at] / close[at - timedelta(hours=1)] - 1 for at in list(close)[1:]}
    worst = min(moves, key=moves.get)
    assert moves[worst] == pytest.approx(-0.187, abs=5e-4)
    assert worst.date().isoformat() == "2020-03-12"
    assert min(close) == datetime(2020, 1, 1, 1, tzinfo=UTC)


def test_index_prices_never_look_ahead():
    market = sample_market()
    assert market.index["ETH"].price == 2222.19
    assert market.index["ETH"].age_seconds(market.as_of) == 0.0
    for coin, price in (("BTC", 44081.6), ("SOL", 90.75)):
        assert market.index[coin].price == price
        assert market.index[coin].timestamp == datetime(2024, 1, 8, 11, tzinfo=UTC)
        assert market.index[coin].age_seconds(market.as_of) == 19 * 60 + 41


def test_a_written_market_opens_to_the_same_tables(written):
    market = Market.open(written)
    assert market.quotes().equals(sample_market().quotes())
    assert market.index["BTC"].price == sample_market().index["BTC"].price
    assert market.digest != sample_market().digest
    assert not list(written.parent.glob(".m-*"))
    copy = shutil.copytree(written, written.parent / "copy")
    assert Market.open(copy).digest == market.digest


def test_a_market_is_never_overwritten(written):
    with pytest.raises(MarketInvalid, match="never overwritten"):
        write_market(written, sample_market().quotes(), sample_market().prices(), AS_OF)


def test_a_changed_file_is_found(written):
    content = bytearray((written / "prices.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (written / "prices.parquet").write_bytes(content)
    market = Market.open(written)
    market.quotes()
    with pytest.raises(MarketInvalid, match=r"prices.parquet has sha256 .* write the market again"):
        market.prices()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "has format"),
    ],
)
def test_a_folder_that_is_no_market_is_refused(written, damage, message):
    damage(written)
    with pytest.raises(MarketInvalid, match=message):
        Market.open(written)


def test_a_missing_file_is_named(written):
    (written / "quotes.parquet").unlink()
    with pytest.raises(MarketInvalid, match=r"lacks quotes.parquet"):
        Market.open(written).quotes()


def test_schema_drift_lists_the_differences(tmp_path):
    sample = sample_market()
    drifted = sample.quotes().rename_columns(
        ["symbol" if name == "instrument" else name for name in sample.quotes().column_names]
    )
    strikes = drifted["strike"].cast(pa.int64())
    drifted = drifted.set_column(drifted.column_names.index("strike"), "strike", strikes)
    with pytest.raises(
        MarketInvalid,
        match="SCHEMA_DRIFT: quotes: instrument is missing; symbol is not declared; "
        "strike is int64, declared double",
    ):
        write_market(tmp_path / "m", drifted, sample.prices(), AS_OF)


@pytest.mark.parametrize(
    ("as_of", "indexes", "message"),
    [
        (AS_OF.replace(tzinfo=None), {}, "TZ_MISSING"),
        (AS_OF, {"ETH": IndexPrice(0.0, AS_OF, "x")}, "must be positive"),
        (AS_OF, {"ETH": IndexPrice(float("nan"), AS_OF, "x")}, "must be positive"),
        (AS_OF, {"ETH": IndexPrice(1.0, AS_OF + timedelta(seconds=1), "x")}, "after as_of"),
        (datetime(2020, 6, 1, tzinfo=UTC), {}, "SOL has no close at or before as_of"),
    ],
)
def test_bad_index_prices_are_refused_and_leave_nothing_behind(tmp_path, as_of, indexes, message):
    sample = sample_market()
    with pytest.raises(MarketInvalid, match=message):
        write_market(tmp_path / "m", sample.quotes(), sample.prices(), as_of, indexes)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_is_plain_json(written):
    manifest = json.loads((written / "manifest.json").read_text())
    assert manifest["files"]["quotes.parquet"]["rows"] == 684
    assert manifest["index"]["ETH"]["source"] == "chain"


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "null", '{"format": [1]}', "\xff"])
def test_a_manifest_that_is_none_is_refused_in_a_sentence(tmp_path, content) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(MarketInvalid):
        Market.open(tmp_path)


def test_a_manifest_without_prices_is_refused_in_a_sentence(tmp_path) -> None:
    whole = dict(sample_market().manifest)
    for broken in (whole | {"index": []}, whole | {"index": {"ETH": 1}}, whole | {"as_of": "soon"}):
        (tmp_path / "manifest.json").write_text(json.dumps(broken))
        with pytest.raises(MarketInvalid, match="is no manifest of a market"):
            Market.open(tmp_path)
