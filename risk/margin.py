"""Margin of accounts: netting sets through the kernel, layers stacked, equity set against them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.charges import Charge, charge_accounts, needs_nesting
from risk.kernels import BlockMargin, Positions, margin_block
from risk.kernels.scan import scan_block
from risk.measures import Measure
from risk.methodology import Methodology
from risk.nesting import Nested, RiskOrder, nest
from risk.netting import NETTING_KEYS, netting_sets
from risk.scan.credits import spread_credit
from risk.scan.prepared import PreparedScan
from risk.scan.specification import ScanSpec
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

    ``cube`` is ``(instrument, scenario)``, P&L of one contract, gain positive. ``value`` is
    ``(instrument,)``, what one contract is worth. ``settlement`` codes the settlement currency in
    canonical order. ``priced`` is false where an input was missing. ``weight`` is ``(scenario,)``.
    ``order`` and ``charges`` serve the charges of the methodology, ``scan`` its scan.
    """

    cube: NDArray[np.float64]
    weight: NDArray[np.float64]
    value: NDArray[np.float64]
    settlement: NDArray[np.int32]
    priced: NDArray[np.bool_]
    order: RiskOrder
    charges: tuple[Charge, ...] = ()
    scan: PreparedScan | None = None


@dataclass(frozen=True, slots=True)
class AccountMargin:
    """Margin of a run of accounts, in reporting currency; a held account holds NaN and status 1.

    ``margin`` is ``(account, layer)``, ``risk_measure`` ``(account, measure)``, each non-negative;
    ``requirement``, the sum of the layers, is what it takes to open positions and ``maintenance``
    what it takes to keep them; ``excess`` is equity less requirement. The last four are
    ``(block, ...)`` sums over the accounts that are not held.
    """

    margin: NDArray[np.float64]
    risk_measure: NDArray[np.float64]
    collateral_value: NDArray[np.float64]
    position_value: NDArray[np.float64]
    equity: NDArray[np.float64]
    requirement: NDArray[np.float64]
    maintenance: NDArray[np.float64]
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
    held_by = Portfolio(offsets, instrument, quantity, key_of_mode[holdings.margin_mode], equity)
    nested = None
    if methodology.scan is not None or needs_nesting(methodology.charges):
        nested = nest(
            offsets,
            instrument,
            held_by.key,
            revaluation.order,
            methodology.scan is not None and methodology.scan.unit == "underlying_settlement",
        )
    if methodology.scan is not None and nested is not None:
        base = _scanned(held_by, nested, revaluation, methodology.scan, map_blocks)
    else:
        base = _measured(held_by, revaluation, methodology, measures, map_blocks)
    margin, maintenance = _charged(held_by, nested, revaluation, methodology, base)
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


@dataclass(frozen=True, slots=True)
class Portfolio:
    """The accounts that are margined: their positions, netting keys and equity."""

    offsets: NDArray[np.int64]
    instrument: NDArray[np.int32]
    quantity: NDArray[np.float64]
    key: NDArray[np.int8]
    equity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.equity)


@dataclass(frozen=True, slots=True)
class BaseMargin:
    """What scenarios ask of each account, before charges; all ``(account, ...)`` but ``blocks``."""

    layers: NDArray[np.float64]
    maintenance: NDArray[np.float64]
    measured: NDArray[np.float64]
    binding: NDArray[np.int32]
    sets: NDArray[np.int32]
    blocks: list[BlockMargin]


def _measured(
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
        binding=_binding_scenario(value, binding, measures, account_sets),
        sets=np.diff(account_sets).astype(np.int32),
        blocks=blocks,
    )


def _scanned(
    portfolio: Portfolio,
    nested: Nested,
    revaluation: Revaluation,
    spec: ScanSpec,
    map_blocks: BlockMap,
) -> BaseMargin:
    """Return the layer that the scan of each account's units sets."""
    if revaluation.scan is None:
        raise ValueError("the methodology scans scenarios, the revaluation was made without")
    scan = revaluation.scan
    tables = scan.tables
    instrument, quantity = portfolio.instrument[nested.order], portfolio.quantity[nested.order]

    def one_block(bounds: tuple[int, int]) -> BlockMargin:
        part, rows = nested.accounts(*bounds)
        equity = portfolio.equity[bounds[0] : bounds[1]]
        block = scan_block(part, quantity[rows], instrument[rows], equity, revaluation.cube, tables)
        return replace(block, contribution=block.contribution * spec.initial_factor)

    blocks = list(map_blocks(one_block, block_bounds(0, len(portfolio))))
    value = np.concatenate([block.value for block in blocks])
    binding = np.concatenate([block.binding_scenario for block in blocks])
    loss = np.maximum(value[:, 0], 0.0)
    worst = sum_by_group(loss, nested.unit_account, len(portfolio))
    if spec.credits:
        unit = nested.labels("unit")
        delta = sum_by_group(quantity * scan.delta[instrument], unit, len(loss))
        underlying = scan.underlying[instrument[nested.unit_first]]
        worst = worst - spread_credit(nested, underlying, loss, delta, scan.credits, len(portfolio))
    one = (Measure(spec.layer, "worst_loss", 0, len(tables.role), binds=True),)
    return BaseMargin(
        layers=(spec.initial_factor * worst)[:, np.newaxis],
        maintenance=spec.maintenance_factor * worst,
        measured=worst[:, np.newaxis],
        binding=_binding_scenario(value, binding, one, nested.account_units),
        sets=np.diff(nested.account_units).astype(np.int32),
        blocks=blocks,
    )


def _charged(
    portfolio: Portfolio,
    nested: Nested | None,
    revaluation: Revaluation,
    methodology: Methodology,
    base: BaseMargin,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return base layers with those of the charges, and the maintenance requirement."""
    order = slice(None) if nested is None else nested.order
    instrument, quantity = portfolio.instrument[order], portfolio.quantity[order]
    account = np.repeat(np.arange(len(portfolio)), np.diff(portfolio.offsets))
    initial, maintenance = base.layers.sum(axis=1), base.maintenance
    layers = [base.layers]
    for layer in methodology.charge_layers:
        asked, kept = np.zeros(len(portfolio)), np.zeros(len(portfolio))
        charges = [charge for charge in revaluation.charges if charge.spec.layer == layer]
        for charge in charges:
            amount = charge_accounts(charge, account, instrument, quantity, len(portfolio), nested)
            asked += charge.spec.initial * amount
            kept += charge.spec.maintenance * amount
        if charges[0].spec.role == "floor":
            asked = np.maximum(asked - initial, 0.0)
            kept = np.maximum(kept - maintenance, 0.0)
        initial, maintenance = initial + asked, maintenance + kept
        layers.append(asked[:, np.newaxis])
    return np.concatenate(layers, axis=1), maintenance


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
