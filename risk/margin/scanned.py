"""Base risk from a scan: the worst scenario of every unit of risk, less credits between units."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from risk.kernels import BlockMargin, stack_accounts
from risk.kernels.scan import scan_block
from risk.margin.inputs import Portfolio, Revaluation
from risk.margin.results import BaseMargin
from risk.measures import Measure
from risk.nesting import Nested
from risk.scan.credits import netting_pools, spread_credit
from risk.scan.specification import ScanSpec
from risk.summation import BlockMap, sum_by_group


def scanned_base(
    portfolio: Portfolio,
    nested: Nested,
    revaluation: Revaluation,
    spec: ScanSpec,
    bounds: Sequence[tuple[int, int]],
    map_blocks: BlockMap,
) -> BaseMargin:
    """Return the layer that the scan of each account's units sets, and sums over each block.

    Contributions by instrument split the losses of units, before credits between them.

    Raises:
        ValueError: the revaluation was made without a scan.
    """
    if revaluation.scan is None:
        raise ValueError("the methodology scans scenarios, the revaluation was made without")
    scan = revaluation.scan
    tables = scan.tables
    instrument, quantity = portfolio.instrument[nested.order], portfolio.quantity[nested.order]

    def one_block(block: tuple[int, int]) -> BlockMargin:
        part, rows = nested.accounts(*block)
        equity = portfolio.equity[block[0] : block[1]]
        return scan_block(
            part,
            quantity[rows],
            instrument[rows],
            equity,
            revaluation.cube,
            tables,
            spec.initial_factor,
        )

    blocks = list(map_blocks(one_block, bounds))
    value = np.concatenate([block.value for block in blocks])
    binding = np.concatenate([block.binding_scenario for block in blocks])
    loss = np.maximum(value[:, 0], 0.0)
    worst = sum_by_group(loss, nested.unit_account, len(portfolio))
    if scan.credits:
        credit = credit_of_accounts(portfolio.key, nested, instrument, quantity, loss, revaluation)
        # A credit in full leaves nothing; it cannot leave less.
        worst = np.maximum(worst - credit, 0.0)
    one = (Measure(spec.layer, "worst_loss", 0, len(tables.role), binds=True),)
    return BaseMargin(
        layers=(spec.initial_factor * worst)[:, np.newaxis],
        maintenance=spec.maintenance_factor * worst,
        measured=worst[:, np.newaxis],
        binding=stack_accounts(nested.account_units, value, binding, one).binding_scenario,
        sets=np.diff(nested.account_units).astype(np.int32),
        blocks=blocks,
    )


def credit_of_accounts(
    key: NDArray[np.int8],
    nested: Nested,
    instrument: NDArray[np.int32],
    quantity: NDArray[np.float64],
    loss: NDArray[np.float64],
    revaluation: Revaluation,
) -> NDArray[np.float64]:
    """Return what credits between units take off the losses of each account, ``(account,)``.

    ``key`` is ``(account,)``, ``loss`` ``(unit,)``; ``instrument`` and ``quantity``
    ``(position,)`` are in the order of ``nested``.
    """
    scan = revaluation.scan
    if scan is None or not len(loss):
        return np.zeros(len(key))
    delta = sum_by_group(quantity * scan.delta[instrument], nested.labels("unit"), len(loss))
    first, owner = instrument[nested.unit_first], nested.unit_account
    currency = revaluation.settlement[first].astype(np.int64)
    pool = netting_pools(owner, currency, key)
    credit = spread_credit(pool, scan.underlying[first], loss, delta, scan.credits)
    account = np.zeros(len(credit), dtype=np.int64)
    account[pool] = owner
    return sum_by_group(credit, account, len(key))
