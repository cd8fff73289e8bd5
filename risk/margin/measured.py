"""Base risk from measures of netting sets: layers stacked, each what its measure asks beyond."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from risk.kernels import BlockMargin, Positions, margin_block, unit_measures
from risk.margin.inputs import Portfolio, Revaluation
from risk.margin.results import BaseMargin
from risk.measures import Measure
from risk.methodology import Methodology
from risk.netting import netting_sets
from risk.summation import BlockMap, sum_by_group


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
    offsets, size = portfolio.offsets, len(portfolio)
    account_sets, set_offsets = netting_sets(
        offsets, portfolio.instrument, portfolio.key, revaluation.settlement
    )
    book = Positions(account_sets, set_offsets, portfolio.instrument, portfolio.quantity)
    units = unit_measures(book, revaluation.cube, revaluation.weight, measures)

    def one_block(block: tuple[int, int]) -> BlockMargin:
        start, stop = block
        equity = portfolio.equity[start:stop]
        return margin_block(
            book.between(start, stop),
            equity,
            revaluation.cube,
            revaluation.weight,
            measures,
            units,
        )

    blocks = list(map_blocks(one_block, bounds))
    value = np.concatenate([block.value for block in blocks])
    binding = np.concatenate([block.binding_scenario for block in blocks])
    account_of_set = np.repeat(np.arange(size), np.diff(account_sets))
    layers = sum_by_group(stack_layers(value, measures), account_of_set, size)
    return BaseMargin(
        layers=layers,
        maintenance=(methodology.maintenance_factor or 0.0) * layers.sum(axis=1),
        measured=sum_by_group(np.maximum(value, 0.0), account_of_set, size),
        binding=binding_scenario(value, binding, measures, account_sets),
        sets=np.diff(account_sets).astype(np.int32),
        blocks=blocks,
    )


def binding_scenario(
    value: NDArray[np.float64],
    binding: NDArray[np.int32],
    measures: Sequence[Measure],
    account_sets: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Return the scenario that binds the costliest netting set of each account, -1 if none does.

    Of measures that are added up it is that of the one that adds most, the first of equals.
    """
    groups = binding_groups(value, measures)
    result = np.full(len(account_sets) - 1, -1, dtype=np.int32)
    if not len(value) or not groups:
        return result
    rows = np.arange(len(value))
    asked = np.stack([total for _, total in groups], axis=1)
    weight = np.array([measure.weight for measure in measures])
    named = np.stack(
        [
            binding[rows, np.array(columns)[np.argmax(weight[columns] * value[:, columns], axis=1)]]
            for columns, _ in groups
        ],
        axis=1,
    )
    best = np.argmax(asked, axis=1)
    loss, scenario = asked[rows, best], named[rows, best]
    account = np.repeat(np.arange(len(result)), np.diff(account_sets))
    held = np.flatnonzero(np.diff(account_sets))
    costliest = np.zeros(len(result))
    costliest[held] = np.maximum.reduceat(loss, account_sets[held])
    chosen = np.flatnonzero((loss == costliest[account]) & (loss > 0.0))
    # In descending order, so that the first of an account's equals is written last.
    result[account[chosen[::-1]]] = scenario[chosen[::-1]]
    return result
