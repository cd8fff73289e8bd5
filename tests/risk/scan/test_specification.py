"""A scan is refused for what it cannot mean, by field, value and what is allowed."""

import copy

import pytest
from pydantic import ValidationError

from risk.scan.specification import ScanSpec

WHOLE = {
    "cells": [
        [0.16, "up"],
        [-0.16, "down"],
        [0.0, "up"],
        [-0.66, "up", 0.24],
        [0.0, "skew"],
        [0.0, "absolute_skew"],
    ],
    "volatility_up": 0.5,
    "volatility_down": 0.25,
    "minimum_volatility_up": 0.4,
    "initial_factor": 1.0,
    "maintenance_factor": 0.8,
    "discount": {"positive": 0.95, "long_rate": 1.0, "long_add": 0.08, "negative": 1.04},
    "skew": {
        "linear_cap": 0.25,
        "linear_cap_per_root_year": -0.1,
        "absolute_cap": 0.25,
        "absolute_cap_per_root_year": -0.1,
        "least_reach": 0.01,
        "width": 4.0,
        "volatility": 0.6,
        "volatility_per_root_year": -0.1,
    },
    "basis": {"up": 0.045, "down": -0.045, "add": 0.5, "per_year": 2.0},
    "extended": {"price_range": 0.16, "dampener": 100_000.0},
    "credits": [{"underlyings": ["BTC", "ETH"], "rate": 0.5}],
    "underlying": {
        "ETH": {"prices": [0.18, -0.18, 0.0, -0.66, 0.0, 0.0], "price_range": 0.18},
    },
}


def with_(path, value):
    """Return the whole scan with one field changed, or taken out where the value is none."""
    changed = copy.deepcopy(WHOLE)
    *way, last = path.split(".")
    table = changed
    for name in way:
        table = table[int(name)] if isinstance(table, list) else table[name]
    if value is None:
        del table[last]
    else:
        table[int(last) if isinstance(table, list) else last] = value
    return changed


def test_the_whole_of_it_is_taken():
    found = ScanSpec.model_validate(WHOLE)
    assert found.cells[3].weight == 0.24
    assert [cell.rotates for cell in found.cells] == [False] * 4 + [True] * 2
    assert found.reads_sets
    plain = ScanSpec.model_validate({"cells": [[0.1, "none"]], "maintenance_factor": 1.0})
    assert (plain.reads_sets, plain.unit, plain.layer) == (False, "underlying", "scan")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("cells", None, "cells\n.*required"),
        ("cells", [], "cells\n.*at least 1 item"),
        ("cells.0", [0.1], r"a cell is \[price, volatility\] or .*got \[0.1\]"),
        ("cells.0", [0.1, "up", 1.0, 2.0], "a cell is"),
        ("cells.0", [0.1, "sideways"], r"volatility\n.*'up', 'none', 'down', 'skew'.*sideways"),
        ("cells.0", [-1.0, "up"], "price\n.*greater than -1.*input_value=-1.0"),
        ("cells.0", [18.0e1, "up"], "price\n.*less than or equal to 20"),
        ("cells.0", [float("nan"), "up"], "cells.0.price\n"),
        ("cells.0", [0.1, "up", -1.0], "weight\n.*greater than or equal to 0"),
        ("cells.0", [0.1, "up", float("inf")], "weight\n.*finite number"),
        ("cells.5", [0.0, "skew"], r"cell \[0, 'skew', 1\] is given twice"),
        ("volatility_up", 50.0, "volatility_up\n.*less than or equal to 10.*50"),
        ("volatility_up", "a half", "volatility_up\n.*valid number"),
        ("volatility_down", 1.5, "volatility_down\n.*less than or equal to 1.*1.5"),
        ("volatility_down", -0.1, "volatility_down\n.*greater than or equal to 0"),
        ("minimum_volatility_up", 40.0, "minimum_volatility_up\n.*less than or equal to 10"),
        ("maintenance_factor", None, "maintenance_factor\n.*required"),
        ("maintenance_factor", 1.1, "maintenance_factor 1.1 is above initial_factor 1"),
        ("initial_factor", 0.0, "initial_factor\n.*greater than 0"),
        ("unit", "account", "unit\n.*'underlying' or 'underlying_settlement'"),
        ("units", "underlying", "units\n.*not permitted"),
        ("discount.positive", None, "discount.positive\n.*required"),
        ("discount.positive", 0.0, "discount.positive\n.*greater than 0"),
        ("discount.long_add", float("nan"), "discount.long_add\n.*finite number"),
        ("skew", None, r"2 cells rotate the smile, the first 'skew'; give the table \[scan.skew\]"),
        ("skew.linear_cap", -0.1, "skew.linear_cap\n.*greater than or equal to 0"),
        ("skew.width", 0.0, "skew.width\n.*greater than 0"),
        ("basis.up", 4.5, "basis.up\n.*less than or equal to 1"),
        ("basis.down", 0.045, "basis.down\n.*less than 0"),
        ("basis.down", -1.0, "basis.down\n.*greater than -1"),
        ("extended.price_range", 16.0, "extended.price_range\n.*less than or equal to 1"),
        ("extended.dampener", -1.0, "extended.dampener\n.*greater than or equal to 0"),
        ("extended", None, r"underlying ETH: dampener and price_range belong to \[scan.extended\]"),
        ("underlying.ETH.prices", [0.1], "underlying ETH: 1 prices for 6 cells; give one for each"),
        ("underlying.ETH.prices.0", -1.5, "underlying.ETH.prices.0\n.*greater than -1"),
        ("underlying.ETH.volatility_down", 2.0, "ETH.volatility_down\n.*less than or equal to 1"),
        ("underlying.ETH.price", 0.1, "underlying.ETH.price\n.*not permitted"),
        ("credits.0.underlyings", ["BTC", "BTC"], "between 'BTC' and itself; name two"),
        ("credits.0.underlyings", ["BTC"], "credits.0.underlyings"),
        ("credits.0.rate", 1.5, "credits.0.rate\n.*less than or equal to 1"),
        (
            "credits",
            [{"underlyings": pair, "rate": 0.5} for pair in (["BTC", "ETH"], ["ETH", "BTC"])],
            r"credits name the pair \['BTC', 'ETH'\] twice",
        ),
    ],
)
def test_what_a_scan_cannot_mean_is_refused_by_name(path, value, message):
    with pytest.raises(ValidationError, match=message):
        ScanSpec.model_validate(with_(path, value))


@pytest.mark.parametrize(
    "changes",
    [
        {"cells": [[0.0, "none"]]},
        {"cells": [[0.1, "none", 0.0]]},
        {"cells": [[0.0, "up"]]},
        {"cells": [[0.0, "down"]], "volatility_up": 0.5},
        {"cells": [[0.0, "none"]], "underlying": {"ETH": {"prices": [0.0]}}},
    ],
)
def test_a_scan_of_which_no_cell_counts_is_refused(changes):
    with pytest.raises(ValidationError, match="none of the 1 cells counts"):
        ScanSpec.model_validate({"maintenance_factor": 1.0} | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"cells": [[0.0, "up"]], "minimum_volatility_up": 0.5},
        {"cells": [[0.0, "up"]], "underlying": {"ETH": {"volatility_up": 0.5}}},
        {"cells": [[0.0, "none"]], "underlying": {"ETH": {"prices": [0.1]}}},
        # One cell for most coins, and two for the one that has its own.
        {
            "cells": [[0.1, "none"], [0.1, "none"]],
            "underlying": {"ETH": {"prices": [0.1, 0.2]}},
        },
        # What is said of a coin that no market has is for another market.
        {"cells": [[0.1, "none"]], "underlying": {"XYZ": {"volatility_up": 0.5}}},
    ],
)
def test_what_counts_somewhere_is_taken(changes):
    ScanSpec.model_validate({"maintenance_factor": 1.0} | changes)


def test_a_scaled_cell_is_extreme_for_all_or_for_none():
    scan = {
        "cells": [[0.17, "up"], [0.5, "up"]],
        "maintenance_factor": 1.0,
        "extended": {"price_range": 0.16, "dampener": 0.0, "factor": 0.5},
        "underlying": {"ETH": {"price_range": 0.18}},
    }
    with pytest.raises(ValidationError, match="cell 0 is beyond the price_range of some"):
        ScanSpec.model_validate(scan)
    ScanSpec.model_validate(scan | {"underlying": {"ETH": {"price_range": 0.16999}}})
    ScanSpec.model_validate(scan | {"extended": scan["extended"] | {"factor": 1.0}})
