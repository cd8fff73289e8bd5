"""Margin of accounts: base risk, charges on top, equity set against both."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from risk.charges import needs_nesting
from risk.margin.charged import stack_charges
from risk.margin.haircuts import with_haircuts
from risk.margin.inputs import Holdings, Portfolio, Revaluation
from risk.margin.legs import greeks_base, standard_base
from risk.margin.measured import measured_base
from risk.margin.results import HELD, MARGINED, AccountMargin, BaseMargin
from risk.margin.scanned import scanned_base
from risk.margin.wrong_way import with_wrong_way
from risk.measures import Measure
from risk.methodology import Methodology
from risk.nesting import Nested, nest
from risk.netting import NETTING_KEYS
from risk.summation import BlockMap, block_bounds, bounds_of_blocks, sum_by_group


def margin_accounts(
    holdings: Holdings,
    revaluation: Revaluation,
    methodology: Methodology,
    measures: Sequence[Measure],
    *,
    block_offsets: NDArray[np.int64] | None = None,
    map_blocks: BlockMap = map,
) -> AccountMargin:
    """Return the margin of accounts, and their sums by block.

    Blocks are runs of 4,096 accounts from the first on, or what ``block_offsets`` ``(block+1,)``
    cuts: of accounts chosen from a book, ``offsets_of_blocks`` gives those of the book. An
    account's numbers are the same bits in whatever company, and sums are exact: those of a block
    less what some of its accounts add to them, plus what they add when they hold something else,
    are the bits of the block that holds it.

    ``map_blocks`` may be the ``map`` of a thread pool: blocks do not touch each other's numbers.

    Raises:
        ValueError: block offsets that do not climb from 0 to the number of accounts, a
            revaluation made without what the methodology reads, or sums too large to be exact.
    """
    if block_offsets is None:
        bounds = block_bounds(0, len(holdings))
    else:
        bounds = bounds_of_blocks(block_offsets, len(holdings))
    held = holdings.held | _holds_unpriced(holdings, revaluation.priced)
    count = np.where(held, 0, np.diff(holdings.offsets))
    keep = np.repeat(~held, np.diff(holdings.offsets))
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    instrument, quantity = holdings.instrument[keep], holdings.quantity[keep]
    account = np.repeat(np.arange(len(holdings)), count)
    size = len(holdings)

    position_value = sum_by_group(quantity * revaluation.value[instrument], account, size)
    collateral = np.where(held, 0.0, holdings.collateral)
    equity = collateral + position_value
    keys = [methodology.netting.isolated, methodology.netting.cross, methodology.netting.portfolio]
    key_of_mode = np.array([NETTING_KEYS.index(key) for key in keys], dtype=np.int8)
    held_by = Portfolio(offsets, instrument, quantity, key_of_mode[holdings.margin_mode], equity)
    nested = None
    if methodology.scan is not None or needs_nesting(methodology.charges):
        nested = nest(
            offsets,
            instrument,
            held_by.key,
            revaluation.order,
            methodology.scan,
        )
    base = _base(held_by, nested, revaluation, methodology, measures, bounds, map_blocks)
    backed_by = replace(holdings, held=held)
    base = with_wrong_way(base, held_by, backed_by, revaluation, methodology, measures, map_blocks)
    margin, maintenance = stack_charges(held_by, nested, revaluation, methodology, base)
    margin, maintenance = with_haircuts(margin, maintenance, backed_by, revaluation, methodology)
    requirement = margin.sum(axis=1)
    blocks = base.blocks
    result = AccountMargin(
        margin=margin,
        risk_measure=base.measured,
        collateral_value=collateral,
        position_value=position_value,
        equity=equity,
        requirement=requirement,
        maintenance=maintenance,
        excess=equity - requirement,
        binding_scenario=base.binding,
        netting_sets=base.sets,
        positions=np.diff(holdings.offsets).astype(np.int32),
        status=np.where(held, HELD, MARGINED).astype(np.int8),
        contribution=np.stack([block.contribution for block in blocks]),
        system_loss=np.stack([block.system_loss for block in blocks]),
        uncovered_loss=np.stack([block.uncovered_loss for block in blocks]),
        accounts_under_water=np.stack([block.accounts_under_water for block in blocks]),
    )
    for numbers in (
        *(result.margin, result.risk_measure, result.collateral_value, result.position_value),
        *(result.equity, result.requirement, result.maintenance, result.excess),
    ):
        numbers[held] = np.nan
    return result


def _base(
    portfolio: Portfolio,
    nested: Nested | None,
    revaluation: Revaluation,
    methodology: Methodology,
    measures: Sequence[Measure],
    bounds: Sequence[tuple[int, int]],
    map_blocks: BlockMap,
) -> BaseMargin:
    """Return base risk by whichever way the methodology takes."""
    if methodology.scan is not None and nested is not None:
        return scanned_base(portfolio, nested, revaluation, methodology.scan, bounds, map_blocks)
    base = measured_base(portfolio, revaluation, methodology, measures, bounds, map_blocks)
    if methodology.standard is not None:
        return standard_base(base, portfolio, revaluation, map_blocks)
    if methodology.sensitivities is not None:
        factor = methodology.maintenance_factor or 0.0
        return greeks_base(base, portfolio, revaluation, factor)
    return base


def _holds_unpriced(holdings: Holdings, priced: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return, for each account, whether one of its positions has no price."""
    account = np.repeat(np.arange(len(holdings)), np.diff(holdings.offsets))
    missing = account[~priced[holdings.instrument]]
    return np.bincount(missing, minlength=len(holdings)) > 0
