"""Why an account needs what it needs where no scenario says so: rules by leg, and sensitivities."""

import itertools
from typing import Any

import numpy as np

from risk.margin import Holdings
from risk.netting import NETTING_KEYS, netting_sets
from risk.sensitivities.aggregation import concentration
from risk.sensitivities.margin import LAYERS, greeks_margin
from risk.standard.terms import NO_RULE, match_rules
from workers.explain.source import Source
from workers.revaluation import terms_and_market_of


def rules_of_legs(source: Source, holdings: Holdings) -> list[dict[str, Any]]:
    """Return the rule of each position: its form, where it is from, and whether it is ours.

    Empty where the methodology has no rules by leg.
    """
    spec = source.methodology.standard
    if spec is None:
        return []
    instruments, _ = terms_and_market_of(source.run, source.book)
    underlyings = [str(coin) for coin in source.scenarios["underlying"].values]
    matched = match_rules(instruments.take(holdings.instrument.astype(np.int64)), spec, underlyings)
    found: list[dict[str, Any]] = []
    for number in matched.tolist():
        if number == NO_RULE:
            found.append({"form": None, "source": None, "by_choice": False})
            continue
        rule = spec.rules[number]
        found.append({"form": rule.form, "source": rule.source, "by_choice": rule.choice})
    return found


def sensitivities_of(source: Source, key: str, holdings: Holdings) -> list[dict[str, Any]]:
    """Return each netting set's layers, and the sensitivities to each coin that they are made of.

    Deltas and vegas are reporting currency per unit of relative move, gain positive; curvature is
    a loss beyond the delta at plus and minus the weight, loss positive. Empty where the
    methodology reads no Greeks.
    """
    greeks, factors = source.revaluation.sensitivities, source.revaluation.factors
    spec = source.methodology.sensitivities
    if greeks is None or factors is None or spec is None:
        return []
    instrument, quantity = holdings.instrument, holdings.quantity
    _, offsets = netting_sets(
        np.array([0, len(instrument)]),
        instrument,
        np.array([NETTING_KEYS.index(key)], dtype=np.int8),
        source.revaluation.settlement,
    )
    margin = greeks_margin(offsets, instrument, quantity, greeks, factors)
    names = source.book.instruments()["instrument"]
    coins = [str(coin) for coin in source.scenarios["underlying"].values]
    explained = []
    for number, (start, stop) in enumerate(itertools.pairwise(offsets.tolist())):
        rows, held = instrument[start:stop], quantity[start:stop]
        underlyings = []
        for coin in np.unique(greeks.underlying[rows]).tolist():
            own = greeks.underlying[rows] == coin
            sums = {
                name: float(held[own] @ getattr(greeks, column)[rows[own]])
                for name, column in (
                    ("delta", "delta"),
                    ("vega", "relative_vega"),
                    ("curvature_up", "curvature_up"),
                    ("curvature_down", "curvature_down"),
                )
            }
            factor = float(concentration(sums["delta"], factors.delta_threshold[coin]))
            weight = float(factors.delta_weight[coin])
            underlyings.append(
                {
                    "underlying": coins[coin],
                    "bucket": spec.buckets[int(factors.bucket[coin])].name,
                    **sums,
                    "delta_weight": weight,
                    "delta_concentration": factor,
                    "weighted_delta": weight * factor * sums["delta"],
                }
            )
        explained.append(
            {
                "netting": key,
                "instruments": [names[int(row)].as_py() for row in rows],
                "layers": dict(zip(LAYERS, margin[number].tolist(), strict=True)),
                "underlyings": underlyings,
            }
        )
    return explained
