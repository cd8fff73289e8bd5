"""The SIMM methods of the conformance suite: what they take and what they answer."""

import pytest

from workers.conformance.simm import METHODS, parameters

ROWS = [["RatesFX", "Risk_IRCurve", "USD", "1", "2w", "OIS", 4000000.0]]
COLUMNS = ["ProductClass", "RiskType", "Qualifier", "Bucket", "Label1", "Label2", "Amount"]


def test_rows_of_a_vector():
    inputs = {"columns": COLUMNS, "rows": ROWS}
    found = METHODS["isda_simm_2.5_10d"](inputs, {})
    assert found["total"] == 460000000.0
    assert found["ir_delta"] == 460000000.0


def test_rows_of_a_table_and_a_version():
    inputs = {"crif_ref": "book", "version": "2.6_1D", "calculation_currency": "USD"}
    found = METHODS["isda_simm"](inputs, {"book": {"columns": COLUMNS, "rows": ROWS}})
    assert found["ir_delta"] == 19 * 4e6
    assert found["ir_vega"] == found["ir_curvature"] == 0.0


def test_an_equity_report_without_a_version():
    rows = [["Equity", "Risk_Equity", "TESTQUALIFIER", "11", tenor, 10] for tenor in ("3y", "10y")]
    found = METHODS["isda_simm"]({"rows": rows}, {})
    assert found["required"] == pytest.approx(340.0)
    assert found["reported"] == pytest.approx(284.46, abs=0.01)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"rows": ROWS, "version": "9.9_10D"}, "9.9"),
        ({"rows": ROWS, "version": "2.6"}, "1D or 10D"),
        ({"crif_ref": "lost"}, "lost"),
        ({}, "no rows"),
    ],
)
def test_what_cannot_be_meant_is_named(inputs, named):
    with pytest.raises(ValueError, match=named):
        METHODS["isda_simm"](inputs, {})


def test_every_shipped_version_is_found():
    assert parameters("2.6").version == "2.6"
