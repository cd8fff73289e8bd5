"""The house's own Greeks-based margin: buckets of coins, weights, tenors, as frozen data.

Every number of the file has an entry in ``provenance``: a source, or that it is our choice.
"""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.approval import Approval
from risk.specification import (
    Correlation,
    Fraction,
    Positive,
    Specification,
    read_toml,
    require_correlation,
)

REST = "*"
"""Stands in a bucket for every underlying that no other bucket names."""

PROVENANCE = (
    "delta_weight",
    "delta_threshold",
    "vega_threshold",
    "correlation",
    "bucket_correlations",
    "vega.vertices_days",
    "vega.weights",
    "vega.tenor_decay",
)
"""The parameters whose origin must be stated."""

Move = Annotated[float, Field(gt=0.0, lt=1.0)]


class Bucket(Specification):
    """Coins that move alike.

    ``delta_weight`` is the price move that is margined, a fraction; curvature reprices at plus and
    minus the same. Thresholds are in the reporting currency of the same sensitivity (per 100 %).
    ``correlation`` holds between different coins of the bucket. In a ``residual`` bucket nothing
    offsets or diversifies, within it or against others, and it has no correlation.
    """

    name: str
    underlyings: Annotated[tuple[str, ...], Field(min_length=1)]
    residual: bool = False
    delta_weight: Move
    delta_threshold: Positive
    vega_threshold: Positive
    correlation: Annotated[float, Field(ge=0.0, le=1.0)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Bucket":
        if self.residual and self.correlation is not None:
            raise ValueError(
                f"bucket {self.name!r} is residual and has a correlation of {self.correlation:g}; "
                "sizes are added up in it, leave the correlation out"
            )
        if not self.residual and self.correlation is None:
            raise ValueError(
                f"bucket {self.name!r} lacks a correlation, from 0 to 1, between its coins"
            )
        return self


class BucketCorrelation(Specification):
    """Correlation of two buckets."""

    between: tuple[str, str]
    value: Correlation


class Vega(Specification):
    """Volatility: vertices in days, the relative move of volatility at each, and their decay.

    The correlation of two vertices is exp(-decay |T_k - T_l| / min(T_k, T_l)).
    """

    vertices_days: Annotated[tuple[Positive, ...], Field(min_length=2)]
    weights: tuple[Positive, ...]
    tenor_decay: Positive

    @model_validator(mode="after")
    def _consistent(self) -> "Vega":
        if list(self.vertices_days) != sorted(set(self.vertices_days)):
            raise ValueError(f"vertices_days are {list(self.vertices_days)}; they must rise")
        if len(self.weights) != len(self.vertices_days):
            raise ValueError(
                f"{len(self.weights)} weights for {len(self.vertices_days)} vertices_days; "
                "each vertex needs one"
            )
        return self


class GreeksSpec(Specification):
    """A dated set of parameters for margin from delta, vega and curvature."""

    name: str
    version: str
    effective: date
    title: str
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    not_verified: tuple[str, ...]
    buckets: Annotated[tuple[Bucket, ...], Field(min_length=1)]
    bucket_correlations: tuple[BucketCorrelation, ...] = ()
    vega: Vega
    maintenance_factor: Fraction
    provenance: dict[str, str]
    approval: Approval | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "GreeksSpec":
        if (found := sorted(self.provenance)) != sorted(PROVENANCE):
            raise ValueError(f"provenance is given for {found}; it is needed for {[*PROVENANCE]}")
        names = [bucket.name for bucket in self.buckets]
        coins = [coin for bucket in self.buckets for coin in bucket.underlyings]
        for what, given in (("bucket", names), ("underlying", coins)):
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice} is named twice; each may be named once")
        open_buckets = [bucket.name for bucket in self.buckets if not bucket.residual]
        wanted = sorted(
            sorted((one, other)) for one in open_buckets for other in open_buckets if one < other
        )
        given_pairs = sorted(sorted(pair.between) for pair in self.bucket_correlations)
        if given_pairs != wanted:
            raise ValueError(
                f"bucket_correlations are between {given_pairs}; needed once each, for every two "
                f"buckets that are not residual, are {wanted}"
            )
        require_correlation("bucket_correlations", self.bucket_correlation())
        return self

    def bucket_correlation(self) -> NDArray[np.float64]:
        """Return the correlation of buckets ``(bucket, bucket)``, zero with a residual one."""
        row = {bucket.name: number for number, bucket in enumerate(self.buckets)}
        matrix = np.eye(len(self.buckets))
        for pair in self.bucket_correlations:
            one, other = (row[name] for name in pair.between)
            matrix[one, other] = matrix[other, one] = pair.value
        return matrix


class RiskFactors(NamedTuple):
    """The parameters laid out for the underlyings of a market, in their order.

    ``(underlying,)``: ``bucket``, ``delta_weight`` (fraction), ``delta_threshold`` and
    ``vega_threshold`` (reporting currency per 100 %). ``(bucket,)``: ``within``, the correlation
    of two coins of it (0 where residual), and ``residual``. ``between`` ``(bucket, bucket)``.
    ``(vertex,)``: ``years`` and ``vega_weight`` (relative move). ``tenor_correlation``
    ``(vertex, vertex)``.
    """

    bucket: NDArray[np.int64]
    delta_weight: NDArray[np.float64]
    delta_threshold: NDArray[np.float64]
    vega_threshold: NDArray[np.float64]
    within: NDArray[np.float64]
    residual: NDArray[np.bool_]
    between: NDArray[np.float64]
    years: NDArray[np.float64]
    vega_weight: NDArray[np.float64]
    tenor_correlation: NDArray[np.float64]


def risk_factors(spec: GreeksSpec, underlyings: Sequence[str]) -> RiskFactors:
    """Return the parameters for these underlyings, by the rows of a market's index prices.

    Raises:
        ValueError: an underlying is in no bucket.
    """
    row = {coin: n for n, bucket in enumerate(spec.buckets) for coin in bucket.underlyings}
    lost = [coin for coin in underlyings if coin not in row and REST not in row]
    if lost:
        raise ValueError(
            f"{spec.name} {spec.version} puts {lost} into no bucket; name them in one, or give one "
            f"bucket the underlying {REST!r}"
        )
    bucket = np.array([row.get(coin, row.get(REST, 0)) for coin in underlyings], dtype=np.int64)
    days = np.array(spec.vega.vertices_days)
    distance = np.abs(days[:, None] - days) / np.minimum.outer(days, days)
    return RiskFactors(
        bucket=bucket,
        delta_weight=np.array([b.delta_weight for b in spec.buckets])[bucket],
        delta_threshold=np.array([b.delta_threshold for b in spec.buckets])[bucket],
        vega_threshold=np.array([b.vega_threshold for b in spec.buckets])[bucket],
        within=np.array([b.correlation or 0.0 for b in spec.buckets]),
        residual=np.array([b.residual for b in spec.buckets], dtype=np.bool_),
        between=spec.bucket_correlation(),
        years=days / 365.0,
        vega_weight=np.array(spec.vega.weights),
        tenor_correlation=np.exp(-spec.vega.tenor_decay * distance),
    )


def parse_greeks(text: str) -> GreeksSpec:
    """Return the parameters that a TOML text describes.

    Raises:
        ValueError: the text is not TOML, or a field is missing, misspelt or out of its range.
    """
    return GreeksSpec.model_validate(read_toml(text))
