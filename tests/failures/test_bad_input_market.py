"""Bad input in quotes and prices: each fault is provoked and has its named outcome."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from storage.intake.history import MarketLimits
from storage.intake.market import MarketReport, check_market, import_market
from storage.market import IndexPrice, Market, MarketInvalid, sample_market
from storage.quarantine import DatasetRefused, Finding, Severity
from storage.tables import PRICES, QUOTES

AS_OF = datetime(2024, 1, 8, 11, 19, 41, tzinfo=UTC)
HOURS = 200
LAST = datetime(2024, 1, 8, 11, tzinfo=UTC)
FORWARD = 2250.0


def good_prices() -> dict[str, list[Any]]:
    rng = np.random.default_rng(7)
    columns: dict[str, list[Any]] = {"underlying": [], "timestamp": [], "close": []}
    for name, level in (("ETH", 2240.0), ("BTC", 44000.0)):
        steps = np.exp(np.cumsum(rng.normal(0.0, 0.005, HOURS)[::-1]))
        columns["underlying"] += [name] * HOURS
        columns["timestamp"] += [LAST - timedelta(hours=HOURS - 1 - n) for n in range(HOURS)]
        columns["close"] += (level * steps / steps[-1]).tolist()
    return columns


def good_quotes() -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {column.name: [] for column in QUOTES.columns}
    for strike in (2000.0, 2250.0, 2500.0):
        call = 0.05 + max(0.0, 1.0 - strike / FORWARD)
        for side, mark in (("call", call), ("put", call - 1.0 + strike / FORWARD)):
            columns["instrument"].append(f"ETH-26JUL24-{strike:.0f}-{side[0].upper()}")
            columns["underlying"].append("ETH")
            columns["expiry"].append(datetime(2024, 7, 26, 8, tzinfo=UTC))
            columns["strike"].append(strike)
            columns["option_type"].append(side)
            columns["mark"].append(mark)
            columns["forward"].append(FORWARD)
            columns["timestamp"].append(AS_OF - timedelta(seconds=30))
            columns["open_interest"].append(100.0)
    return columns


class Given:
    """A good market that a test spoils before it checks it."""

    def __init__(self) -> None:
        self.quotes = good_quotes()
        self.prices = good_prices()
        self.limits = MarketLimits()
        self.indexes: dict[str, IndexPrice] = {}

    def tables(self) -> tuple[pa.Table, pa.Table]:
        made = []
        for columns, declared in ((self.quotes, QUOTES), (self.prices, PRICES)):
            types = {column.name: column.type for column in declared.columns}
            arrays = {name: pa.array(cells, types.get(name)) for name, cells in columns.items()}
            made.append(pa.table(arrays))
        return made[0], made[1]

    def check(self) -> tuple[pa.Table, pa.Table, list[Finding]]:
        given = self.tables()
        quotes, prices, findings = check_market(*given, AS_OF, self.limits, self.indexes)
        assert quotes.schema == QUOTES.schema
        assert prices.schema == PRICES.schema
        bad = {(f.dataset, f.line) for f in findings if f.severity == "quarantine" and f.line}
        for before, after, name in ((given[0], quotes, "quotes"), (given[1], prices, "prices")):
            aside = sum(dataset == name for dataset, _ in bad)
            assert before.num_rows == after.num_rows + aside
        return quotes, prices, list(findings)

    def found(self, code: str, count: int = 1, severity: Severity = "quarantine") -> Finding:
        """Check, and return the first of so many findings of a code, all complete and so severe."""
        findings = [finding for finding in self.check()[2] if finding.code == code]
        assert [finding.severity for finding in findings] == [severity] * count
        assert all(finding.allowed and finding.action for finding in findings)
        return findings[0]

    def refused(self, code: str) -> str:
        with pytest.raises(DatasetRefused) as refusal:
            self.check()
        assert code in {f.code for f in refusal.value.findings if f.severity == "refuse"}
        return str(refusal.value)


@pytest.fixture
def given() -> Given:
    return Given()


def test_good_market(given: Given) -> None:
    quotes, prices, findings = given.check()
    assert findings == []
    assert quotes.to_pylist() == given.tables()[0].to_pylist()
    assert prices.to_pylist() == given.tables()[1].to_pylist()


def test_real_market_passes_unchanged() -> None:
    market = sample_market()
    limits = MarketLimits(look_ahead=True)
    quotes, prices, findings = check_market(market.quotes(), market.prices(), market.as_of, limits)
    assert quotes.equals(market.quotes())
    assert prices.equals(market.prices())
    assert set(findings.counts()) == {"FUTURE_DATA", "HISTORY_GAP"}


@pytest.mark.parametrize("value", [float("nan"), None])
@pytest.mark.parametrize(
    ("dataset", "field"), [("prices", "close"), ("quotes", "mark"), ("quotes", "forward")]
)
def test_b01_price_missing(given: Given, dataset: str, field: str, value: float | None) -> None:
    getattr(given, dataset)[field][3] = value
    finding = given.found("PRICE_MISSING")
    assert (finding.dataset, finding.field, finding.line) == (dataset, field, 4)


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("dataset", "field"), [("prices", "close"), ("quotes", "mark"), ("quotes", "forward")]
)
def test_b02_price_not_finite(given: Given, dataset: str, field: str, value: float) -> None:
    getattr(given, dataset)[field][3] = value
    assert given.found("PRICE_NOT_FINITE").value == ("-inf" if value < 0 else "inf")


@pytest.mark.parametrize(
    ("dataset", "field", "value"),
    [
        ("prices", "close", 0.0),
        ("prices", "close", -5.0),
        ("quotes", "mark", -0.01),
        ("quotes", "forward", 0.0),
    ],
)
def test_b03_price_not_positive(given: Given, dataset: str, field: str, value: float) -> None:
    getattr(given, dataset)[field][3] = value
    assert given.found("PRICE_NON_POSITIVE").dataset == dataset


@pytest.mark.parametrize("row", [0, 50, HOURS - 1])
@pytest.mark.parametrize("factor", [100.0, 0.01, 7.0])
def test_b04_price_jump(given: Given, row: int, factor: float) -> None:
    given.prices["close"][row] *= factor
    finding = given.found("PRICE_JUMP")
    assert finding.line == row + 1


def test_b04_confirmed_jump_is_believed(given: Given) -> None:
    for row in range(150, HOURS):
        given.prices["close"][row] *= 0.2
    given.quotes["forward"] = [450.0] * 6
    given.quotes["strike"] = [strike / 5.0 for strike in given.quotes["strike"]]
    given.found("PRICE_JUMP", 150)
    moment = given.prices["timestamp"][150]
    given.limits = replace(given.limits, confirmed_jumps=frozenset({("ETH", moment)}))
    assert given.check()[2] == []


def test_b04_stray_forward(given: Given) -> None:
    given.quotes["forward"][2] = 100 * FORWARD
    assert given.found("PRICE_JUMP").dataset == "quotes"


@pytest.mark.parametrize("dataset", ["prices", "quotes"])
@pytest.mark.parametrize("unit", ["cents", "gwei", "1e-8 USD", ""])
def test_b05_unit_column(given: Given, dataset: str, unit: str) -> None:
    columns = getattr(given, dataset)
    columns["price_unit"] = ["USD"] * len(columns["underlying"])
    assert given.check()[2] == []
    columns["price_unit"][1] = unit
    given.refused("UNIT_MISMATCH")


@pytest.mark.parametrize("factor", [100.0, 1e9, 1e8, 0.01])
def test_b05_prices_in_another_unit(given: Given, factor: float) -> None:
    given.prices["close"] = [close * factor for close in given.prices["close"]]
    assert "10^" in given.refused("UNIT_MISMATCH")


def test_b05_unit_against_an_index_price(given: Given) -> None:
    given.indexes["BTC"] = IndexPrice(440.0, AS_OF, "elsewhere")
    given.refused("UNIT_MISMATCH")


def test_b05_marks_in_dollars(given: Given) -> None:
    given.quotes["mark"] = [mark * FORWARD for mark in given.quotes["mark"]]
    given.refused("UNIT_MISMATCH")


def test_b06_volatility_negative(given: Given) -> None:
    given.quotes["volatility"] = [0.6, -0.6, 0.6, 0.6, None, float("nan")]
    assert given.found("VOL_NEGATIVE").value == "-0.6"


def test_b07_volatility_in_percent(given: Given) -> None:
    given.quotes["volatility"] = [0.65, 65.0, 0.65, 0.65, 0.65, 0.65]
    assert given.found("VOL_UNIT").value == "65"


def test_b08_volatility_zero(given: Given) -> None:
    given.quotes["volatility"] = [0.65, 0.0, 0.65, 0.65, 0.65, 0.65]
    given.found("VOL_ZERO", severity="warn")


@pytest.mark.parametrize(
    ("expiry", "code"),
    [
        (AS_OF - timedelta(hours=1), "EXPIRED_OPEN"),  # B9
        (AS_OF, "EXPIRY_AT_AS_OF"),  # B10
        (datetime(1970, 1, 20, tzinfo=UTC), "TIME_UNIT"),  # B13
    ],
)
def test_b09_to_b13_expiry(given: Given, expiry: datetime, code: str) -> None:
    given.quotes["expiry"][0] = expiry
    assert given.found(code).line == 1


@pytest.mark.parametrize(
    ("dataset", "field"), [("quotes", "expiry"), ("quotes", "timestamp"), ("prices", "timestamp")]
)
def test_b12_naive_timestamp(given: Given, dataset: str, field: str) -> None:
    quotes, prices = given.tables()
    tables = {"quotes": quotes, "prices": prices}
    table = tables[dataset]
    naive = table[field].cast(pa.timestamp("us"))
    tables[dataset] = table.set_column(table.column_names.index(field), field, naive)
    with pytest.raises(DatasetRefused, match="TZ_MISSING"):
        check_market(tables["quotes"], tables["prices"], AS_OF)


def test_b14_stale_quote(given: Given) -> None:
    given.quotes["timestamp"][5] = AS_OF - timedelta(hours=25)
    assert given.found("STALE_PRICE").dataset == "quotes"


def test_b14_stale_history(given: Given) -> None:
    given.prices["timestamp"] = [
        moment - timedelta(days=3) if name == "BTC" else moment
        for name, moment in zip(given.prices["underlying"], given.prices["timestamp"], strict=True)
    ]
    assert "the last close is 3 days" in given.found("STALE_PRICE", HOURS).value
    given.indexes["BTC"] = IndexPrice(44000.0, AS_OF, "elsewhere")
    assert given.check()[2] == []


def test_b15_future_quote(given: Given) -> None:
    given.quotes["timestamp"][5] = AS_OF + timedelta(seconds=1)
    given.refused("FUTURE_DATA")


def test_b15_future_history(given: Given) -> None:
    given.prices["timestamp"] = [
        moment + timedelta(hours=5) for moment in given.prices["timestamp"]
    ]
    assert "5 closes" in given.refused("FUTURE_DATA")
    given.limits = replace(given.limits, look_ahead=True)
    given.found("FUTURE_DATA", 2, "warn")


def test_b25_duplicate_quote(given: Given) -> None:
    for cells in given.quotes.values():
        cells.append(cells[0])
    given.refused("DUPLICATE_KEY")


def test_b26_underlying_spelled_differently(given: Given) -> None:
    given.prices["underlying"][3] = "eth"
    given.refused("KEY_NORMALISATION")


@pytest.mark.parametrize("strike", [0.0, -100.0])
def test_strike_not_positive(given: Given, strike: float) -> None:
    given.quotes["strike"][0] = strike
    given.found("TERMS_MISMATCH")


def test_quote_on_a_coin_without_prices(given: Given) -> None:
    given.quotes["underlying"][0] = "DOGE"
    assert given.found("UNDERLYING_UNKNOWN").value == "DOGE"


def test_b41_parity(given: Given) -> None:
    given.quotes["mark"][0] += 0.05
    assert "0.05" in given.found("PARITY", severity="warn").value


@pytest.mark.parametrize("rounds", [(7, 9, 8), (2**70 + 7, 2**70 + 9, 2**70 + 8)])
def test_b16_round_that_falls_back(given: Given, rounds: tuple[int, ...]) -> None:
    given.prices["round"] = [""] * (2 * HOURS)
    given.prices["round"][10:13] = [str(number) for number in rounds]
    finding = given.found("ORACLE_STUCK")
    assert (finding.field, finding.value, finding.line) == ("round", str(rounds[2]), 13)


def test_b16_round_that_stays_for_a_day_is_believed_and_no_longer(given: Given) -> None:
    given.prices["round"] = [""] * (2 * HOURS)
    given.prices["round"][100:125] = ["41"] * 25
    assert given.check()[2] == []
    given.prices["round"][125] = "41"
    assert given.found("ORACLE_STUCK").line == 126


def test_b16_round_that_is_no_number(given: Given) -> None:
    given.prices["round"] = ["1.5"] + [""] * (2 * HOURS - 1)
    assert given.found("NUMBER_INVALID").field == "round"


@pytest.mark.parametrize("factor", [1.06, 0.94, -1.0])
def test_b17_two_sources_apart(given: Given, factor: float) -> None:
    second = [close * 1.01 for close in given.prices["close"]]
    second[20] = given.prices["close"][20] * factor
    given.prices["second_source"] = second
    finding = given.found("ORACLE_DIVERGENCE")
    assert (finding.field, finding.line) == ("second_source", 21)


def test_b04_a_jump_that_a_second_source_shows_is_believed(given: Given) -> None:
    for row in range(150, HOURS):
        given.prices["close"][row] *= 5.0
    for name in ("forward", "strike"):
        given.quotes[name] = [price * 5.0 for price in given.quotes[name]]
    given.found("PRICE_JUMP", 150)
    given.prices["second_source"] = [None] * (2 * HOURS)
    given.prices["second_source"][150] = given.prices["close"][150] * 1.02
    assert given.check()[2] == []


@pytest.mark.parametrize("by", [0.02, -0.02])
def test_b36_call_spread_outside_of_what_it_can_pay(given: Given, by: float) -> None:
    """The spread 2250 over 2500 is worth nothing, and can pay a ninth of the forward."""
    given.quotes["mark"] = [
        mark + (max(0.0, by) if strike > 2400.0 else 0.0)
        for mark, strike in zip(given.quotes["mark"], given.quotes["strike"], strict=True)
    ]
    if by < 0.0:
        # As calls: 0.161 at 2000 becomes 0.181, a ninth and a fiftieth above that at 2250.
        given.quotes["mark"][0] += 0.02
        given.quotes["mark"][1] += 0.02
    finding = given.found("ARB_VERTICAL", 4)
    pair = "2000 over 2250" if by < 0.0 else "2250 over 2500"
    assert pair in finding.value


def test_b37_butterfly_below_nothing(given: Given) -> None:
    """Spreads are within their bounds, and calls bend down by 0.012 at the strike between."""
    calls = {2000.0: 0.17, 2250.0: 0.13, 2500.0: 0.066}
    for row, strike in enumerate(given.quotes["strike"]):
        parity = strike / FORWARD - 1.0 if row % 2 else 0.0
        given.quotes["mark"][row] = calls[strike] + parity
    with pytest.raises(DatasetRefused) as refusal:
        given.check()  # as no quote is left
    found = [*refusal.value.findings]
    assert [finding.code for finding in found] == ["ARB_BUTTERFLY"] * 6 + ["EMPTY_INPUT"]
    assert found[0].value == "the butterfly 2000, 2250, 2500 is worth -0.0120"


def test_b38_total_variance_that_falls(given: Given) -> None:
    """The same options two months later, all cheaper by two percent of the forward."""
    for cells in given.quotes.values():
        cells.extend(list(cells))
    for row in range(6, 12):
        given.quotes["instrument"][row] += " later"
        given.quotes["expiry"][row] = datetime(2024, 9, 27, 8, tzinfo=UTC)
        given.quotes["mark"][row] -= 0.02
    finding = given.found("ARB_CALENDAR", 10)
    assert finding.value == "2250 is worth 0.0200 more on 2024-07-26 than 2024-09-27"
    given.quotes["mark"][6:] = given.quotes["mark"][:6]
    assert given.check()[2] == []


def test_b70_mark_and_forward_swapped(given: Given) -> None:
    for row in range(6):
        mark, forward = given.quotes["mark"][row], given.quotes["forward"][row]
        given.quotes["mark"][row], given.quotes["forward"][row] = forward, mark
    with pytest.raises(DatasetRefused) as refusal:
        given.check()  # as no quote is left
    codes = [finding.code for finding in refusal.value.findings]
    assert codes == ["MARK_INDEX_SWAP"] * 6 + ["EMPTY_INPUT"]


def test_b47_short_history(given: Given) -> None:
    given.limits = replace(given.limits, required_steps=1000)
    assert given.found("SHORT_HISTORY", 2, "warn").value == "200 closes of 1,000 asked for"


def test_b48_gap(given: Given) -> None:
    for cells in given.prices.values():
        del cells[40:43]
    finding = given.found("HISTORY_GAP")
    assert finding.value == "3 hours missing"
    assert finding.row.startswith("ETH / 2024-01-01")


def test_b48_equal_copies_keep_one(given: Given) -> None:
    for cells in given.prices.values():
        cells.append(cells[10])
    assert given.found("HISTORY_DUP").line == 2 * HOURS + 1


def test_b48_differing_copies_keep_none(given: Given) -> None:
    for cells in given.prices.values():
        cells.append(cells[10])
    given.prices["close"][-1] *= 1.001
    given.found("HISTORY_DUP", 2)


@pytest.mark.parametrize("factor", [1000.0, 0.001, 10.0])
def test_b49_redenomination(given: Given, factor: float) -> None:
    for row in range(120):
        given.prices["close"][row] *= factor
    given.found("CORPORATE_ACTION", 120)


def test_b50_standing_still(given: Given) -> None:
    given.prices["close"][100:130] = [given.prices["close"][100]] * 30
    finding = given.found("ZERO_RETURN_RUN", severity="warn")
    assert finding.value.startswith("30 equal closes")


@pytest.mark.parametrize("dataset", ["quotes", "prices"])
def test_b61_no_rows(given: Given, dataset: str) -> None:
    for cells in getattr(given, dataset).values():
        cells.clear()
    given.refused("EMPTY_INPUT")


def test_b61_everything_in_quarantine(given: Given) -> None:
    given.prices["close"] = [float("nan")] * (2 * HOURS)
    given.refused("EMPTY_INPUT")


@pytest.fixture(params=[".csv", ".parquet"])
def source(tmp_path: Path, request: pytest.FixtureRequest, given: Given) -> Path:
    given.prices["close"][50] *= 100.0
    folder = tmp_path / "source"
    folder.mkdir()
    for name, table in zip(("quotes", "prices"), given.tables(), strict=True):
        if request.param == ".parquet":
            pq.write_table(table, folder / f"{name}.parquet")
        else:
            pacsv.write_csv(table, folder / f"{name}.csv")
    return folder


def test_import_from_files(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    report = import_market(
        source,
        tmp_path / "market",
        as_of=AS_OF,
        progress=lambda name, rows: seen.append((name, rows)),
    )
    assert isinstance(report, MarketReport)
    assert seen == [("quotes", 6), ("prices", 2 * HOURS)]
    assert report.counts == {"HISTORY_GAP": 1, "PRICE_JUMP": 1}
    assert [count.quarantined for count in report.datasets] == [0, 1]
    market = Market.open(tmp_path / "market")
    assert market.prices().num_rows == 2 * HOURS - 1
    assert market.as_of == AS_OF
    kept = pq.read_table(tmp_path / "market" / "quarantine.parquet")
    assert kept["code"].to_pylist() == ["PRICE_JUMP", "HISTORY_GAP"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["market", "source"]
    with pytest.raises(MarketInvalid):
        import_market(source, tmp_path / "market", as_of=AS_OF)


def test_import_refuses_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    next(source.glob("prices.*")).unlink()
    with pytest.raises(DatasetRefused, match="DATASET_MISSING"):
        import_market(source, tmp_path / "market", as_of=AS_OF)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
