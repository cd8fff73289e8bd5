"""Wrong way: what collateral that moves with the market asks beyond base risk."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from risk.kernels import Positions, margin_block, unit_measures
from risk.margin.inputs import Holdings, Portfolio, Revaluation
from risk.margin.measured import stack_layers
from risk.margin.results import BaseMargin
from risk.measures import Measure
from risk.methodology import Methodology
from risk.summation import BlockMap, block_bounds
from risk.wrong_way import wrong_way

Floats = NDArray[np.float64]


def wrong_way_of_accounts(
    portfolio: Portfolio,
    holdings: Holdings,
    revaluation: Revaluation,
    measures: Sequence[Measure],
    map_blocks: BlockMap = map,
) -> Floats:
    """Return what collateral asks of each account at a share of one, ``(account,)``.

    ``wrong_way`` of what the measures that set layers ask of all positions of the account
    together, with and without the change of credit, and of the change. Zero without collateral
    that moves.

    Raises:
        ValueError: the revaluation was made without the moves of the assets.
    """
    if revaluation.credit_moves is None:
        raise ValueError(
            "the methodology has a wrong-way layer, the revaluation no moves of assets"
        )
    asked = np.zeros(len(portfolio))
    if holdings.assets is None:
        return asked
    moves, assets = revaluation.credit_moves, holdings.assets
    keeper = np.repeat(np.arange(len(portfolio)), np.diff(assets.offsets))
    moves_at_all = np.any(moves != 0.0, axis=1)[assets.asset]
    moving = moves_at_all & ~holdings.held[keeper] & (assets.quantity != 0.0)
    chosen = np.unique(keeper[moving])
    if not len(chosen):
        return asked
    owner = np.repeat(np.arange(len(portfolio)), np.diff(portfolio.offsets))
    kept = np.isin(owner, chosen)
    alone = _rows(chosen, owner[kept], portfolio.instrument[kept], portfolio.quantity[kept])
    row = (assets.asset[moving] + len(revaluation.cube)).astype(np.int32)
    credit = _rows(chosen, keeper[moving], row, assets.quantity[moving])
    backed = _rows(
        chosen,
        np.concatenate([owner[kept], keeper[moving]]),
        np.concatenate([portfolio.instrument[kept], row]),
        np.concatenate([portfolio.quantity[kept], assets.quantity[moving]]),
    )
    cube = np.concatenate([revaluation.cube, moves])
    asked[chosen] = wrong_way(
        *(
            _asked(rows, cube, revaluation.weight, measures, map_blocks)
            for rows in (backed, alone, credit)
        )
    )
    return asked


def _rows(
    chosen: NDArray[np.int64],
    owner: NDArray[np.int64],
    row: NDArray[np.int32],
    quantity: Floats,
) -> Positions:
    """Return rows of the chosen accounts as one netting set each, in the order of the rows."""
    order = np.argsort(owner, kind="stable")
    offsets = np.searchsorted(owner[order], np.append(chosen, chosen[-1] + 1)).astype(np.int64)
    sets = np.arange(len(chosen) + 1, dtype=np.int64)
    return Positions(sets, offsets, row[order], quantity[order])


def _asked(
    rows: Positions,
    cube: Floats,
    weight: Floats,
    measures: Sequence[Measure],
    map_blocks: BlockMap,
) -> Floats:
    """Return what the measures ask of each account as one netting set, ``(account,)``."""
    units = unit_measures(rows, cube, weight, measures)

    def one_block(bounds: tuple[int, int]) -> Floats:
        start, stop = bounds
        part = rows.between(start, stop)
        found = margin_block(part, np.zeros(stop - start), cube, weight, measures, units)
        return np.asarray(stack_layers(found.value, measures).sum(axis=1))

    return np.concatenate(list(map_blocks(one_block, block_bounds(0, rows.accounts))))


def with_wrong_way(
    base: BaseMargin,
    portfolio: Portfolio,
    holdings: Holdings,
    revaluation: Revaluation,
    methodology: Methodology,
    measures: Sequence[Measure],
    map_blocks: BlockMap,
) -> BaseMargin:
    """Return base margin with the wrong-way layer; as it is where the methodology has none."""
    spec = methodology.wrong_way
    if spec is None:
        return base
    asked = wrong_way_of_accounts(portfolio, holdings, revaluation, measures, map_blocks)
    return replace(
        base,
        layers=np.concatenate([base.layers, spec.share * asked[:, np.newaxis]], axis=1),
        maintenance=base.maintenance + spec.maintenance_share * asked,
    )
