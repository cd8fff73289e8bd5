"""Base risk from measures of netting sets: layers stacked, each what its measure asks beyond."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from risk.kernels import (
    BlockMargin,
    Positions,
    StackedAccounts,
    margin_block,
    stack_accounts,
    unit_measures,
)
from risk.margin.inputs import Portfolio, Revaluation
from risk.margin.results import BaseMargin
from risk.measures import Measure
from risk.methodology import Methodology
from risk.netting import netting_sets
from risk.summation import BlockMap


def measures_of(methodology: Methodology, origin: Sequence[str]) -> tuple[Measure, ...]:
    """Return the measures of a methodology on a scenario axis whose origins are given in order.

    Raises:
        ValueError: the scenarios of a measure are missing, or are not one contiguous run.
    """
    measures: list[Measure] = []
    before: str | None = None
    for spec in methodology.measures:
        chosen = np.flatnonzero(np.isin(np.asarray(origin, dtype=object), spec.origins))
        if not len(chosen) or chosen[-1] - chosen[0] + 1 != len(chosen):
            raise ValueError(
                f"measure {spec.name!r} needs the scenarios of {list(spec.origins)} as one "
                f"contiguous run; {len(chosen)} were found"
            )
        measures.append(
            Measure(
                name=spec.name,
                kind=spec.kind,
                start=int(chosen[0]),
                stop=int(chosen[-1]) + 1,
                level=spec.level,
                convention=spec.convention,
                binds=spec.layer is not None,
                age_decay=_decay_by_window(spec.age_decay, methodology),
                weight=1.0 if spec.weight is None else spec.weight,
                joins=spec.layer is not None and spec.layer == before,
            )
        )
        before = spec.layer
    return tuple(measures)


def _decay_by_window(by_day: float | None, methodology: Methodology) -> float | None:
    """Return a decay by day as one by historical window, which are all one step apart.

    In decimals, so that the bits are those of no mathematical library.
    """
    if by_day is None or methodology.historical is None:
        return None
    return float(Decimal(repr(by_day)) ** (Decimal(methodology.historical.step_hours) / 24))


def binding_groups(
    value: NDArray[np.float64], measures: Sequence[Measure]
) -> list[tuple[list[int], NDArray[np.float64]]]:
    """Return the measures that set each layer, and what they come to, ``(set, measure) -> (set,)``.

    A measure that joins is added to the one before it, each times its weight.
    """
    groups: list[tuple[list[int], NDArray[np.float64]]] = []
    for column, measure in enumerate(measures):
        weighted = measure.weight * value[:, column]
        if measure.joins:
            columns, total = groups[-1]
            groups[-1] = ([*columns, column], total + weighted)
        elif measure.binds:
            groups.append(([column], weighted))
    return groups


def stack_layers(value: NDArray[np.float64], measures: Sequence[Measure]) -> NDArray[np.float64]:
    """Stack binding measures: each layer is what its measures ask beyond those before them.

    Shape ``(set, measure) -> (set, layer)``; losses positive, layers non-negative.

    >>> import numpy as np
    >>> shortfall = Measure("expected_shortfall", "expected_shortfall", 0, 9, 0.9)
    >>> worst = Measure("worst_loss", "worst_loss", 9, 12)
    >>> stack_layers(np.array([[4.0, 7.0], [4.0, 1.0], [-2.0, 3.0]]), [shortfall, worst]).tolist()
    [[4.0, 3.0], [4.0, 0.0], [0.0, 3.0]]
    """
    reached = np.zeros(len(value))
    layers = []
    for _, asked in binding_groups(value, measures):
        layers.append(np.maximum(asked - reached, 0.0))
        reached = np.maximum(reached, asked)
    return np.stack(layers, axis=-1) if layers else np.zeros((len(value), 0))


def measured_base(
    portfolio: Portfolio,
    revaluation: Revaluation,
    methodology: Methodology,
    measures: Sequence[Measure],
    bounds: Sequence[tuple[int, int]],
    map_blocks: BlockMap,
) -> BaseMargin:
    """Return the layers that measures of the netting sets set, and sums over each of the blocks."""
    account_sets, set_offsets = netting_sets(
        portfolio.offsets, portfolio.instrument, portfolio.key, revaluation.settlement
    )
    book = Positions(account_sets, set_offsets, portfolio.instrument, portfolio.quantity)
    units = unit_measures(book, revaluation.cube, revaluation.weight, measures)

    def one_block(one: tuple[int, int]) -> tuple[BlockMargin, StackedAccounts]:
        start, stop = one
        part = book.between(start, stop)
        block = margin_block(
            part,
            portfolio.equity[start:stop],
            revaluation.cube,
            revaluation.weight,
            measures,
            units,
        )
        found = (block.value, block.binding_scenario)
        return block, stack_accounts(part.account_sets, *found, measures)

    blocks, stacked = zip(*map_blocks(one_block, bounds), strict=True)
    layers = np.concatenate([one.layers for one in stacked])
    return BaseMargin(
        layers=layers,
        maintenance=(methodology.maintenance_factor or 0.0) * layers.sum(axis=1),
        measured=np.concatenate([one.measured for one in stacked]),
        binding=np.concatenate([one.binding_scenario for one in stacked]),
        sets=np.diff(account_sets).astype(np.int32),
        blocks=list(blocks),
    )
