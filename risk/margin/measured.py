"""Base risk from measures of netting sets: layers stacked, each what its measure asks beyond."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from risk.kernels import BlockMargin, Positions, margin_block
from risk.margin.inputs import Portfolio, Revaluation
from risk.margin.results import BaseMargin
from risk.measures import Measure
from risk.methodology import Methodology
from risk.netting import netting_sets
from risk.summation import BlockMap, block_bounds, sum_by_group


def measures_of(methodology: Methodology, origin: Sequence[str]) -> tuple[Measure, ...]:
    """Return the measures of a methodology on a scenario axis whose origins are given in order.

    Raises:
        ValueError: the scenarios of a measure are missing, or are not one contiguous run.
    """
    measures = []
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
            )
        )
    return tuple(measures)


def stack_layers(value: NDArray[np.float64], measures: Sequence[Measure]) -> NDArray[np.float64]:
    """Stack binding measures: each layer is what its measure asks beyond those before it.

    Shape ``(set, measure) -> (set, layer)``; losses positive, layers non-negative.

    >>> import numpy as np
    >>> shortfall = Measure("expected_shortfall", "expected_shortfall", 0, 9, 0.9)
    >>> worst = Measure("worst_loss", "worst_loss", 9, 12)
    >>> stack_layers(np.array([[4.0, 7.0], [4.0, 1.0], [-2.0, 3.0]]), [shortfall, worst]).tolist()
    [[4.0, 3.0], [4.0, 0.0], [0.0, 3.0]]
    """
    reached = np.zeros(len(value))
    layers = []
    for column, measure in enumerate(measures):
        if not measure.binds:
            continue
        layers.append(np.maximum(value[:, column] - reached, 0.0))
        reached = np.maximum(reached, value[:, column])
    return np.stack(layers, axis=-1) if layers else np.zeros((len(value), 0))


def measured_base(
    portfolio: Portfolio,
    revaluation: Revaluation,
    methodology: Methodology,
    measures: Sequence[Measure],
    map_blocks: BlockMap,
) -> BaseMargin:
    """Return the layers that measures of the netting sets set."""
    offsets, size = portfolio.offsets, len(portfolio)
    account_sets, set_offsets = netting_sets(
        offsets, portfolio.instrument, portfolio.key, revaluation.settlement
    )

    def one_block(bounds: tuple[int, int]) -> BlockMargin:
        start, stop = bounds
        sets = slice(account_sets[start], account_sets[stop])
        rows = slice(offsets[start], offsets[stop])
        positions = Positions(
            account_sets=account_sets[start : stop + 1] - account_sets[start],
            set_offsets=set_offsets[sets.start : sets.stop + 1] - offsets[start],
            instrument=portfolio.instrument[rows],
            quantity=portfolio.quantity[rows],
        )
        equity = portfolio.equity[start:stop]
        return margin_block(positions, equity, revaluation.cube, revaluation.weight, measures)

    blocks = list(map_blocks(one_block, block_bounds(0, size)))
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
    """Return the scenario that binds the costliest netting set of each account, -1 if none does."""
    binds = np.flatnonzero([measure.binds for measure in measures])
    result = np.full(len(account_sets) - 1, -1, dtype=np.int32)
    if not len(value) or not len(binds):
        return result
    best = binds[np.argmax(value[:, binds], axis=1)]
    rows = np.arange(len(value))
    loss, scenario = value[rows, best], binding[rows, best]
    account = np.repeat(np.arange(len(result)), np.diff(account_sets))
    # Costliest set first within its account, the earlier set on a tie.
    order = np.lexsort((rows, -loss, account))
    first = np.concatenate([[True], account[order][1:] != account[order][:-1]])
    chosen = order[first]
    costly = loss[chosen] > 0.0
    result[account[chosen][costly]] = scenario[chosen][costly]
    return result
