"""What is warmed before the first task is what the tasks call."""

import pytest

import risk.kernels.block
import risk.kernels.scan
import risk.sensitivities.kernel
import risk.standard.kernel
from tests.risk.books import market_of, random_holdings, universe
from tests.risk.engine import engine_of, rules_of
from tests.risk.test_margin_properties import WITH_SIZE
from workers.warm import warm_kernels

KERNELS = {
    "measures": risk.kernels.block._block,
    "scan": risk.kernels.scan._scan,
    "standard": risk.standard.kernel.margin_run,
    "greeks": risk.sensitivities.kernel.accounts_margin,
}


@pytest.mark.parametrize("name", [*KERNELS])
def test_a_warm_process_compiles_nothing_for_its_first_account(name):
    warm_kernels()
    instruments, currency = universe()
    known = list(KERNELS[name].signatures)
    assert known
    engine = engine_of(rules_of(**WITH_SIZE[name]), instruments, currency, market_of(instruments))
    engine.margin(random_holdings(1, len(instruments)))
    assert list(KERNELS[name].signatures) == known
