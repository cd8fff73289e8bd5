"""Margin of accounts: netting sets through the kernel, layers stacked, equity set against them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels import BlockMargin, Positions, margin_block
from risk.measures import Measure
from risk.methodology import Methodology
from risk.netting import NETTING_KEYS, netting_sets
from risk.summation import block_bounds, sum_by_group

MARGINED, HELD = 0, 1
"""Status of an account: its margin is known, or an input it depends on is missing."""

BlockMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a run of accounts holds; positions sorted by account, then by instrument row.

    Shapes ``(account+1,)`` for ``offsets``, ``(position,)`` for ``instrument`` and ``quantity``
    (contracts, long positive), ``(account,)`` for the rest. ``collateral`` is the value after
    haircuts in reporting currency.
    """

    offsets: NDArray[np.int64]
    instrument: NDArray[np.int32]
    quantity: NDArray[np.float64]
    margin_mode: NDArray[np.int8]
    collateral: NDArray[np.float64]
    held: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.held)


@dataclass(frozen=True, slots=True)
class Revaluation:
    """The cube and what else margin needs to know of each instrument.

    ``cube`` is ``(instrument, scenario)``, P&L of one contract, gain positive. ``value`` and
    ``short_charge`` are ``(instrument,)``, per contract: what it is worth, and the notional on
    which the short option minimum is charged (zero unless an option). ``settlement`` codes the
    settlement currency in canonical order. ``priced`` is false where an input was missing.
    ``weight`` is ``(scenario,)``.
    """

    cube: NDArray[np.float64]
    weight: NDArray[np.float64]
    value: NDArray[np.float64]
    short_charge: NDArray[np.float64]
    settlement: NDArray[np.int32]
    priced: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AccountMargin:
    """Margin of a run of accounts, in reporting currency; a held account holds NaN and status 1.

    ``margin`` is ``(account, layer)``, ``risk_measure`` ``(account, measure)``, each non-negative;
    ``requirement`` is the sum of the layers and ``excess`` equity less requirement. The last
    four are ``(block, ...)`` sums over the accounts that are not held.
    """

    margin: NDArray[np.float64]
    risk_measure: NDArray[np.float64]
    collateral_value: NDArray[np.float64]
    position_value: NDArray[np.float64]
    equity: NDArray[np.float64]
    requirement: NDArray[np.float64]
    excess: NDArray[np.float64]
    binding_scenario: NDArray[np.int32]
    netting_sets: NDArray[np.int32]
    positions: NDArray[np.int32]
    status: NDArray[np.int8]
    contribution: NDArray[np.float64]
    system_loss: NDArray[np.float64]
    uncovered_loss: NDArray[np.float64]
    accounts_under_water: NDArray[np.int64]


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
    return np.stack(layers, axis=-1)


def margin_accounts(
    holdings: Holdings,
    revaluation: Revaluation,
    methodology: Methodology,
    measures: Sequence[Measure],
    *,
    map_blocks: BlockMap = map,
) -> AccountMargin:
    """Return the margin of a run of accounts that starts at the first account of a block.

    ``map_blocks`` may be the ``map`` of a thread pool: blocks do not touch each other's numbers.
    """
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
    account_sets, set_offsets = netting_sets(
        offsets, instrument, key_of_mode[holdings.margin_mode], revaluation.settlement
    )

    def one_block(bounds: tuple[int, int]) -> BlockMargin:
        start, stop = bounds
        sets = slice(account_sets[start], account_sets[stop])
        rows = slice(offsets[start], offsets[stop])
        positions = Positions(
            account_sets=account_sets[start : stop + 1] - account_sets[start],
            set_offsets=set_offsets[sets.start : sets.stop + 1] - offsets[start],
            instrument=instrument[rows],
            quantity=quantity[rows],
        )
        return margin_block(
            positions, equity[start:stop], revaluation.cube, revaluation.weight, measures
        )

    blocks = list(map_blocks(one_block, block_bounds(0, size)))
    value = np.concatenate([block.value for block in blocks])
    binding = np.concatenate([block.binding_scenario for block in blocks])

    account_of_set = np.repeat(np.arange(size), np.diff(account_sets))
    layers = stack_layers(value, measures)
    charge = np.maximum(-quantity, 0.0) * revaluation.short_charge[instrument]
    minimum = methodology.short_option.rate * sum_by_group(charge, account, size)
    scenario_margin = sum_by_group(layers, account_of_set, size)
    short_option = np.maximum(minimum - scenario_margin.sum(axis=1), 0.0)
    margin = np.column_stack([scenario_margin, short_option])
    requirement = margin.sum(axis=1)
    measured = sum_by_group(np.maximum(value, 0.0), account_of_set, size)
    result = AccountMargin(
        margin=margin,
        risk_measure=measured,
        collateral_value=collateral,
        position_value=position_value,
        equity=equity,
        requirement=requirement,
        excess=equity - requirement,
        binding_scenario=_binding_scenario(value, binding, measures, account_sets),
        netting_sets=np.diff(account_sets).astype(np.int32),
        positions=np.diff(holdings.offsets).astype(np.int32),
        status=np.where(held, HELD, MARGINED).astype(np.int8),
        contribution=np.stack([block.contribution for block in blocks]),
        system_loss=np.stack([block.system_loss for block in blocks]),
        uncovered_loss=np.stack([block.uncovered_loss for block in blocks]),
        accounts_under_water=np.stack([block.accounts_under_water for block in blocks]),
    )
    for numbers in (
        *(result.margin, result.risk_measure, result.collateral_value, result.position_value),
        *(result.equity, result.requirement, result.excess),
    ):
        numbers[held] = np.nan
    return result


def _holds_unpriced(holdings: Holdings, priced: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return, for each account, whether one of its positions has no price."""
    account = np.repeat(np.arange(len(holdings)), np.diff(holdings.offsets))
    missing = account[~priced[holdings.instrument]]
    return np.bincount(missing, minlength=len(holdings)) > 0


def _binding_scenario(
    value: NDArray[np.float64],
    binding: NDArray[np.int32],
    measures: Sequence[Measure],
    account_sets: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Return the scenario that binds the costliest netting set of each account, -1 if none does."""
    binds = np.flatnonzero([measure.binds for measure in measures])
    result = np.full(len(account_sets) - 1, -1, dtype=np.int32)
    if not len(value):
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
