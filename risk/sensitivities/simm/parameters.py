"""The parameters of one dated version of ISDA SIMM, read from TOML.

Weights are per basis point (rates) or per percent (exchange rates, equity); thresholds are in
millions of US dollars of the same sensitivity. "*" among currencies stands for every other.
"""

from datetime import date
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.specification import (
    Correlation,
    NonNegative,
    Positive,
    Specification,
    read_toml,
    require_correlation,
)

Days = Literal[1, 10]
OTHER = "*"
MILLION = 1e6


class Threshold(Specification):
    """The sensitivity beyond which a currency is concentrated, USD million."""

    currencies: Annotated[tuple[str, ...], Field(min_length=1)]
    delta: Positive
    vega: Positive | None = None


def threshold_of(thresholds: tuple[Threshold, ...], currency: str) -> Threshold:
    """Return the threshold of a currency: the one that names it, else that of every other."""
    named = [entry for entry in thresholds if currency in entry.currencies]
    return named[0] if named else next(e for e in thresholds if OTHER in e.currencies)


def _check_thresholds(where: str, thresholds: tuple[Threshold, ...]) -> None:
    names = [name for entry in thresholds for name in entry.currencies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or OTHER not in names:
        raise ValueError(
            f"{where} thresholds name {twice or 'no'} {'twice' if twice else repr(OTHER)}; each "
            f"currency may be named once, and one entry must be {OTHER!r}, all the others"
        )


def _check_horizons(where: str, days: list[int]) -> None:
    if not days or len(set(days)) < len(days):
        raise ValueError(f"{where} horizons are for {days} days; one entry each is needed")


class VolatilityGroups(Specification):
    """Currencies of regular and of low volatility; the rest has high volatility."""

    regular: tuple[str, ...]
    low: tuple[str, ...]

    def of(self, currency: str) -> Literal["regular", "low", "high"]:
        """Return the group of a currency."""
        if currency in self.regular:
            return "regular"
        return "low" if currency in self.low else "high"


class RateHorizon(Specification):
    """Weights of interest rates over one margin period of risk."""

    days: Days
    regular: tuple[Positive, ...]
    low: tuple[Positive, ...]
    high: tuple[Positive, ...]
    inflation: Positive
    basis: Positive
    vega: Positive
    historical_volatility_ratio: Positive

    def weights(self, group: Literal["regular", "low", "high"]) -> NDArray[np.float64]:
        """Return the weights of the tenors for a volatility group, ``(tenor,)``."""
        return np.array({"regular": self.regular, "low": self.low, "high": self.high}[group])


class InterestRate(Specification):
    """Parameters of the interest rate class."""

    tenors: Annotated[tuple[str, ...], Field(min_length=2)]
    tenor_correlation: tuple[tuple[Correlation, ...], ...]
    sub_curve_correlation: Correlation
    inflation_correlation: Correlation
    basis_correlation: Correlation
    currency_correlation: Correlation
    volatility: VolatilityGroups
    thresholds: tuple[Threshold, ...]
    horizons: tuple[RateHorizon, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "InterestRate":
        size = len(self.tenors)
        rows = [len(row) for row in self.tenor_correlation]
        if rows != list(range(size - 1, 0, -1)):
            raise ValueError(
                f"tenor_correlation has rows of {rows}; {size} tenors need an upper triangle, "
                f"rows of {size - 1} down to 1"
            )
        require_correlation("tenor_correlation", self.correlation())
        for horizon in self.horizons:
            for group in ("regular", "low", "high"):
                if (found := len(getattr(horizon, group))) != size:
                    raise ValueError(
                        f"{group} of the {horizon.days}-day horizon has {found} weights; "
                        f"{size} tenors need {size}"
                    )
        _check_horizons("interest_rate", [horizon.days for horizon in self.horizons])
        _check_thresholds("interest_rate", self.thresholds)
        if any(entry.vega is None for entry in self.thresholds):
            raise ValueError("interest_rate thresholds need vega, USD million, in every entry")
        return self

    def correlation(self) -> NDArray[np.float64]:
        """Return the full correlation of tenors, ``(tenor, tenor)``."""
        matrix = np.eye(len(self.tenors))
        for row, values in enumerate(self.tenor_correlation):
            matrix[row, row + 1 :] = matrix[row + 1 :, row] = values
        return matrix


class FxHorizon(Specification):
    """Weights of exchange rates, percent: both groups regular, one high, both high."""

    days: Days
    regular: Positive
    mixed: Positive
    high: Positive


class FxCorrelation(Specification):
    """Correlations of exchange rates: two regular currencies, one of each group, two high ones."""

    regular: Correlation
    mixed: Correlation
    high: Correlation


class ForeignExchange(Specification):
    """Parameters of the exchange rate class."""

    high_volatility: tuple[str, ...]
    horizons: tuple[FxHorizon, ...]
    correlation_in_regular: FxCorrelation
    correlation_in_high: FxCorrelation
    thresholds: tuple[Threshold, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "ForeignExchange":
        _check_horizons("foreign_exchange", [horizon.days for horizon in self.horizons])
        _check_thresholds("foreign_exchange", self.thresholds)
        return self


class EquityBucket(Specification):
    """One equity bucket: weight in percent by days, correlation, threshold in USD million."""

    name: str
    correlation: NonNegative
    threshold: Positive
    weights: dict[Literal["1", "10"], Positive]


class Equity(Specification):
    """Parameters of the equity class; a bucket called Residual offsets nothing."""

    buckets: Annotated[tuple[EquityBucket, ...], Field(min_length=1)]
    bucket_correlation: Correlation | None = None


class ClassCorrelation(Specification):
    """Correlation psi of two risk classes of a product class."""

    between: tuple[str, str]
    value: Correlation


class SimmParameters(Specification):
    """One dated version; classes that it leaves out cannot be margined with it."""

    name: str
    version: str
    effective: date
    title: str
    licence: Annotated[str, Field(min_length=1)]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    not_verified: tuple[str, ...]
    interest_rate: InterestRate | None = None
    foreign_exchange: ForeignExchange | None = None
    equity: Equity | None = None
    risk_class_correlations: tuple[ClassCorrelation, ...] = ()


def parse_simm(text: str) -> SimmParameters:
    """Return the parameters that a TOML text describes.

    Raises:
        ValueError: the text is not TOML, or a field is missing, misspelt or out of its range.
    """
    return SimmParameters.model_validate(read_toml(text))
