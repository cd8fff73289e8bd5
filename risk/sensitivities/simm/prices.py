"""Delta margin of exchange rates, one bucket of them all, and of equity, by bucket."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from risk.sensitivities.aggregation import (
    across_buckets,
    agreement,
    concentration,
    within_bucket,
)
from risk.sensitivities.simm.crif import Sensitivity
from risk.sensitivities.simm.parameters import (
    MILLION,
    Equity,
    EquityBucket,
    ForeignExchange,
    FxCorrelation,
    FxHorizon,
    threshold_of,
)

Array = NDArray[np.float64]

RESIDUAL = "Residual"


def fx_margin(
    rows: Sequence[Sensitivity], parameters: ForeignExchange, days: int, currency: str
) -> dict[str, float]:
    """Return Delta of exchange rates against the calculation currency, 0 or more.

    Raises:
        ValueError: a horizon that the parameters do not have.
    """
    horizon = next((h for h in parameters.horizons if h.days == days), None)
    if horizon is None:
        known = [h.days for h in parameters.horizons]
        raise ValueError(f"a horizon of {days} days has no weights; the parameters have {known}")
    net = _net(rows)
    names, amount = sorted(net), np.array([net[name] for name in sorted(net)])
    high = np.array([name in parameters.high_volatility for name in names], dtype=np.bool_)
    base_high = currency in parameters.high_volatility
    threshold = [threshold_of(parameters.thresholds, name).delta * MILLION for name in names]
    factor = concentration(amount, threshold)
    weighted = _fx_weight(horizon, high, base_high) * amount * factor
    pairs = parameters.correlation_in_high if base_high else parameters.correlation_in_regular
    rho = _fx_correlation(pairs, high) * agreement(factor)
    return {"Delta": within_bucket(weighted, rho)}


def _fx_weight(horizon: FxHorizon, high: NDArray[np.bool_], base_high: bool) -> Array:
    by_count = np.array([horizon.regular, horizon.mixed, horizon.high])
    return by_count[high.astype(np.int64) + base_high]


def _fx_correlation(known: FxCorrelation, high: NDArray[np.bool_]) -> Array:
    by_count = np.array([known.regular, known.mixed, known.high])
    rho = by_count[np.add.outer(high.astype(np.int64), high.astype(np.int64))]
    np.fill_diagonal(rho, 1.0)
    return rho


def equity_margin(rows: Sequence[Sensitivity], parameters: Equity, days: int) -> dict[str, float]:
    """Return Delta of equity, 0 or more. Labels are not read: a name is one risk factor.

    Raises:
        ValueError: a bucket or horizon that the parameters do not have, or two buckets without
            a correlation between them.
    """
    known = {bucket.name: bucket for bucket in parameters.buckets}
    by_bucket: dict[str, list[Sensitivity]] = defaultdict(list)
    for row in rows:
        if row.bucket not in known:
            raise ValueError(
                f"equity {row.qualifier} is in bucket {row.bucket!r}; the parameters have "
                f"{sorted(known)}"
            )
        by_bucket[row.bucket].append(row)
    measured = {name: _bucket(by_bucket[name], known[name], days) for name in sorted(by_bucket)}
    residual = measured.pop(RESIDUAL, (0.0, 0.0))[0]
    if len(measured) > 1 and parameters.bucket_correlation is None:
        raise ValueError(
            f"equity is in buckets {sorted(measured)}; the parameters have no bucket_correlation"
        )
    margin = np.array([value for value, _ in measured.values()])
    total = np.array([value for _, value in measured.values()])
    gamma = np.full((len(margin), len(margin)), parameters.bucket_correlation or 0.0)
    return {"Delta": across_buckets(margin, total, gamma) + residual}


def _bucket(rows: Sequence[Sensitivity], bucket: EquityBucket, days: int) -> tuple[float, float]:
    """Return K of one bucket and the sum of its weighted sensitivities."""
    weight = {int(number): value for number, value in bucket.weights.items()}
    if days not in weight:
        raise ValueError(
            f"a horizon of {days} days has no weight in equity bucket {bucket.name!r}; "
            f"it has {sorted(weight)}"
        )
    amount = np.array(list(_net(rows).values()))
    factor = concentration(amount, bucket.threshold * MILLION)
    weighted = weight[days] * amount * factor
    rho = bucket.correlation * agreement(factor)
    np.fill_diagonal(rho, 1.0)
    return within_bucket(weighted, rho), float(weighted.sum())


def _net(rows: Iterable[Sensitivity]) -> dict[str, float]:
    net: dict[str, float] = defaultdict(float)
    for row in rows:
        net[row.qualifier] += row.amount
    return net
