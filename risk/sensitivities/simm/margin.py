"""The whole margin: risk classes within product classes, product classes added up."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from risk.sensitivities.simm.crif import Sensitivity
from risk.sensitivities.simm.parameters import SimmParameters
from risk.sensitivities.simm.prices import equity_margin, fx_margin
from risk.sensitivities.simm.rates import rates_margin

MEASURES = ("Delta", "Vega", "Curvature")


@dataclass(frozen=True, slots=True)
class SimmMargin:
    """Margin by product class, risk class and measure, in the calculation currency, 0 or more."""

    components: dict[tuple[str, str, str], float]
    product_margin: dict[str, float]

    @property
    def total(self) -> float:
        """The sum over product classes, which do not offset each other."""
        return sum(self.product_margin.values())

    def of(self, risk_class: str, measure: str) -> float:
        """Return one measure of one risk class, added up over product classes."""
        return sum(
            value
            for (_, found, name), value in self.components.items()
            if (found, name) == (risk_class, measure)
        )


def simm_margin(
    rows: Iterable[Sensitivity], parameters: SimmParameters, days: int = 10, currency: str = "USD"
) -> SimmMargin:
    """Return the margin of one portfolio over ``days`` in a calculation currency.

    A risk class asks Delta + Vega + Curvature; a product class
    sqrt(sum of IM_r^2 + sum over r != s of psi_rs IM_r IM_s). Amounts must be in the calculation
    currency, and thresholds, which are in US dollars, are not converted.

    Raises:
        ValueError: a risk class, bucket, tenor or horizon that the parameters do not have.
    """
    groups: dict[str, dict[str, list[Sensitivity]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.risk_class == "FX" and row.qualifier == currency:
            continue  # the calculation currency carries no risk against itself
        groups[row.product_class][row.risk_class].append(row)
    components: dict[tuple[str, str, str], float] = {}
    product_margin: dict[str, float] = {}
    for product, classes in sorted(groups.items()):
        margin: dict[str, float] = {}
        for risk_class, members in sorted(classes.items()):
            measured = _class_margin(risk_class, members, parameters, days, currency)
            components |= {(product, risk_class, name): measured[name] for name in measured}
            margin[risk_class] = sum(measured.values())
        product_margin[product] = _product_margin(margin, parameters)
    return SimmMargin(components, product_margin)


def _class_margin(
    risk_class: str,
    rows: Sequence[Sensitivity],
    parameters: SimmParameters,
    days: int,
    currency: str,
) -> dict[str, float]:
    if risk_class == "InterestRate" and parameters.interest_rate:
        return rates_margin(rows, parameters.interest_rate, days)
    if risk_class == "FX" and parameters.foreign_exchange:
        return fx_margin(rows, parameters.foreign_exchange, days, currency)
    if risk_class == "Equity" and parameters.equity:
        return equity_margin(rows, parameters.equity, days)
    raise ValueError(
        f"{parameters.name} {parameters.version} has no parameters of {risk_class}; "
        f"{len(rows)} sensitivities need them"
    )


def _product_margin(margin: dict[str, float], parameters: SimmParameters) -> float:
    names = sorted(margin)
    known = {frozenset(pair.between): pair.value for pair in parameters.risk_class_correlations}
    psi = np.eye(len(names))
    for row, one in enumerate(names):
        for column, other in enumerate(names[:row]):
            if frozenset((one, other)) not in known:
                raise ValueError(
                    f"{parameters.name} {parameters.version} has no correlation between {one} and "
                    f"{other}; add it to risk_class_correlations"
                )
            psi[row, column] = psi[column, row] = known[frozenset((one, other))]
    value = np.array([margin[name] for name in names])
    return float(np.sqrt(value @ psi @ value))
