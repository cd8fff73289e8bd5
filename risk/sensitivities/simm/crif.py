"""Rows of sensitivities in the common risk interchange format (CRIF), netted before margining."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RISK_CLASS = {
    "Risk_IRCurve": "InterestRate",
    "Risk_Inflation": "InterestRate",
    "Risk_XCcyBasis": "InterestRate",
    "Risk_IRVol": "InterestRate",
    "Risk_FX": "FX",
    "Risk_Equity": "Equity",
}
"""The risk types that are margined, and the class each belongs to."""

_PRODUCT_CLASS = {"InterestRate": "RatesFX", "FX": "RatesFX", "Equity": "Equity"}
_COLUMNS = ("ProductClass", "RiskType", "Qualifier", "Bucket", "Label1", "Label2", "Amount")


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One row: a gain in the calculation currency for a move of its risk factor.

    ``amount`` is the gain per basis point (rates) or per percent (exchange rates, equity), and
    for volatilities volatility times vega. Empty labels are "".
    """

    product_class: str
    risk_type: str
    qualifier: str
    bucket: str
    label1: str
    label2: str
    amount: float

    @property
    def risk_class(self) -> str:
        """The risk class of the row's risk type."""
        return RISK_CLASS[self.risk_type]


def sensitivities(
    rows: Iterable[Sequence[Any]], columns: Sequence[str] | None = None
) -> list[Sensitivity]:
    """Return rows of a CRIF table, one or more rows a risk factor.

    Without ``columns`` a row is ``ProductClass, RiskType, Qualifier, Bucket, Label1, Amount``,
    with ``Label2`` before the amount where it has seven fields. Without a product class a row
    belongs to the one its risk class is usually traded in.

    Raises:
        ValueError: a risk type that is not margined, a missing column, an amount that is no number.

    >>> sensitivities([["Equity", "Risk_Equity", "A", "11", "3y", 10]])[0].amount
    10.0
    """
    result = []
    for number, row in enumerate(rows):
        names = columns or (_COLUMNS if len(row) == len(_COLUMNS) else (*_COLUMNS[:5], "Amount"))
        if len(names) != len(row):
            raise ValueError(f"row {number} has {len(row)} fields, its columns are {list(names)}")
        result.append(_sensitivity(number, dict(zip(names, row, strict=True))))
    return result


def _sensitivity(number: int, fields: Mapping[str, Any]) -> Sensitivity:
    if absent := sorted({"RiskType", "Qualifier", "Amount"} - set(fields)):
        raise ValueError(f"row {number} lacks {absent}; its fields are {sorted(fields)}")
    risk_type = str(fields["RiskType"])
    if risk_type not in RISK_CLASS:
        raise ValueError(
            f"row {number} has RiskType {risk_type!r}; margined are {sorted(RISK_CLASS)}"
        )
    amount = float(fields["Amount"])
    if not np.isfinite(amount):
        raise ValueError(f"row {number} has Amount {amount}; allowed is a finite number")
    usual = _PRODUCT_CLASS[RISK_CLASS[risk_type]]
    return Sensitivity(
        product_class=str(fields.get("ProductClass") or usual),
        risk_type=risk_type,
        qualifier=str(fields["Qualifier"]),
        bucket=str(fields.get("Bucket") or ""),
        label1=str(fields.get("Label1") or ""),
        label2=str(fields.get("Label2") or ""),
        amount=amount,
    )
