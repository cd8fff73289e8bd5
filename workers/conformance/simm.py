"""ISDA SIMM on the sensitivities of a vector, with the parameters that ship."""

from dataclasses import replace
from functools import cache
from importlib import resources

from risk.sensitivities.simm.crif import Sensitivity, sensitivities
from risk.sensitivities.simm.margin import SimmMargin, simm_margin
from risk.sensitivities.simm.parameters import SimmParameters, parse_simm
from workers.conformance.method import Inputs, Method, Numbers, Tables, table

_UNNAMED_EQUITY = "2.2_10D"
"""Version of the equity vector that names none: the one in force when it was reported."""


@cache
def parameters(version: str) -> SimmParameters:
    """Return the shipped parameters of a version of SIMM.

    Raises:
        ValueError: no parameters of that version ship.
    """
    folder = resources.files("risk.sensitivities.parameters")
    files = {entry.name: entry for entry in folder.iterdir()}
    name = f"isda-simm-{version}.toml"
    if name not in files:
        shipped = sorted(n[10:-5] for n in files if n.startswith("isda-simm-"))
        raise ValueError(f"no parameters of SIMM {version!r} ship; shipped are {shipped}")
    return parse_simm(files[name].read_text())


def _rows(inputs: Inputs, tables: Tables) -> list[Sensitivity]:
    given = table(inputs, tables, "crif_ref") if "crif_ref" in inputs else inputs
    if "rows" not in given:
        raise ValueError(f"the inputs hold no rows of sensitivities; they hold {sorted(given)}")
    return sensitivities(given["rows"], given.get("columns"))


def _margin(rows: list[Sensitivity], inputs: Inputs, version: str) -> SimmMargin:
    number, _, horizon = str(inputs.get("version", version)).partition("_")
    if horizon not in ("1D", "10D"):
        raise ValueError(f"version {version!r} is not like 2.6_10D: 1D or 10D must follow")
    currency = str(inputs.get("calculation_currency", inputs.get("currency", "USD")))
    return simm_margin(rows, parameters(number), int(horizon[:-1]), currency)


def _numbers(margin: SimmMargin) -> dict[str, float]:
    short = {"InterestRate": "ir", "FX": "fx", "Equity": "equity"}
    named = {
        f"{short[risk_class]}_{measure.lower()}": margin.of(risk_class, measure)
        for _, risk_class, measure in margin.components
    }
    return {**named, "total": margin.total}


def _simm(inputs: Inputs, tables: Tables) -> Numbers:
    rows = _rows(inputs, tables)
    margin = _margin(rows, inputs, _UNNAMED_EQUITY)
    if "version" in inputs:
        return _numbers(margin)
    # The report of a library that took the tenor of an equity for part of its name: what is
    # right, and what comes of that mistake.
    split = [replace(row, qualifier=f"{row.qualifier} {row.label1}") for row in rows]
    wrong = _margin(split, inputs, _UNNAMED_EQUITY).total
    return {**_numbers(margin), "required": margin.total, "reported": wrong}


def _simm_2_5(inputs: Inputs, tables: Tables) -> Numbers:
    return _numbers(_margin(_rows(inputs, tables), inputs, "2.5_10D"))


METHODS: dict[str, Method] = {"isda_simm": _simm, "isda_simm_2.5_10d": _simm_2_5}
