"""What is warmed before the first task is what the tasks call."""

import numpy as np
import pytest

import risk.kernels.block
import risk.kernels.rows
import risk.kernels.scan
import risk.kernels.units
import risk.sensitivities.kernel
import risk.standard.kernel
from risk.kernels import Positions, account_pnl
from tests.risk.books import market_of, random_holdings, universe
from tests.risk.engine import engine_of, rules_of
from tests.risk.test_margin_properties import WITH_SIZE
from workers.warm import warm_kernels

MEASURES = (
    risk.kernels.block._block,
    risk.kernels.units._measure_units,
    risk.kernels.rows._account_pnl,
)
KERNELS = {
    "measures": MEASURES,
    "scan": (risk.kernels.scan._scan, *MEASURES),
    "standard": (risk.standard.kernel.margin_run, *MEASURES),
    "greeks": (risk.sensitivities.kernel.accounts_margin, *MEASURES),
}


@pytest.mark.parametrize("name", [*KERNELS])
def test_a_warm_process_compiles_nothing_for_its_first_account(name):
    warm_kernels()
    instruments, currency = universe()
    known = [list(kernel.signatures) for kernel in KERNELS[name]]
    assert all(known)
    engine = engine_of(rules_of(**WITH_SIZE[name]), instruments, currency, market_of(instruments))
    # What a task is given lies in the object store, where nothing may be written.
    for array in (engine.revaluation.cube, engine.revaluation.weight, engine.revaluation.value):
        array.flags.writeable = False
    holdings = random_holdings(1, len(instruments))
    engine.margin(holdings)
    positions = Positions(
        np.arange(len(holdings) + 1), holdings.offsets, holdings.instrument, holdings.quantity
    )
    account_pnl(positions, engine.revaluation.cube)
    assert [list(kernel.signatures) for kernel in KERNELS[name]] == known
