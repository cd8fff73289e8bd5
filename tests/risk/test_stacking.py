"""Netting sets stacked into accounts, against a twin that goes set by set in plain Python."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.kernels import stack_accounts
from risk.margin import stack_layers
from risk.measures import Measure

LOSSES = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
"""Few enough that ties are common."""


def slow_stack(account_sets, value, binding, measures):
    """Return layers, measured and the binding scenario of each account, by their definitions."""
    layers = stack_layers(value, measures)
    rows = [range(a, b) for a, b in itertools.pairwise(account_sets)]
    groups = []
    for column, measure in enumerate(measures):
        if measure.joins:
            groups[-1].append(column)
        elif measure.binds:
            groups.append([column])
    named = []
    for sets in rows:
        candidates = []
        for n in sets:
            for group in groups:
                adds = [measures[m].weight * value[n, m] for m in group]
                candidates.append((sum(adds), binding[n, group[adds.index(max(adds))]]))
        largest = max((asked for asked, _ in candidates), default=0.0)
        first = [scenario for asked, scenario in candidates if asked == largest]
        named.append(int(first[0]) if largest > 0.0 else -1)
    return (
        [[sum(layers[n, k] for n in sets) for k in range(layers.shape[1])] for sets in rows],
        [[sum(max(value[n, m], 0.0) for n in sets) for m in range(len(measures))] for sets in rows],
        named,
    )


@st.composite
def measures_of_sets(draw):
    measures = []
    for m in range(draw(st.integers(1, 5))):
        binds = draw(st.booleans())
        joins = bool(measures) and measures[-1].binds and draw(st.booleans())
        weight = draw(st.sampled_from([0.25, 0.5, 1.0, 2.0])) if binds or joins else 1.0
        measures.append(
            Measure(
                f"m{m}", "worst_loss", m, m + 1, weight=weight, binds=binds or joins, joins=joins
            )
        )
    return measures


@settings(deadline=None)
@given(measures=measures_of_sets(), data=st.data())
def test_stacking_is_what_it_says(measures, data):
    sets_of = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    account_sets = np.concatenate([[0], np.cumsum(sets_of)]).astype(np.int64)
    cells = int(account_sets[-1]) * len(measures)
    value = data.draw(st.lists(st.sampled_from(LOSSES), min_size=cells, max_size=cells))
    value = np.array(value).reshape(-1, len(measures))
    binding = np.arange(cells, dtype=np.int32).reshape(value.shape)
    stacked = stack_accounts(account_sets, value, binding, measures)
    layers, measured, named = slow_stack(account_sets, value, binding, measures)
    # Quarters of small integers: every sum is exact, in whichever order.
    assert stacked.layers.tolist() == layers
    assert stacked.measured.tolist() == measured
    assert stacked.binding_scenario.tolist() == named


def test_a_number_that_is_none_stays_none():
    measures = [Measure("w", "worst_loss", 0, 1)]
    stacked = stack_accounts(
        np.array([0, 2]), np.array([[1.0], [np.nan]]), np.zeros((2, 1), np.int32), measures
    )
    assert np.isnan(stacked.layers).all()
    assert np.isnan(stacked.measured).all()
