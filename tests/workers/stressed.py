"""Plans of a stress test, and stress runs in one call, for tests."""

import dataclasses
from pathlib import Path
from typing import Any

from storage.arrays import STRESS
from storage.runs import RunStore, StoredRun
from tests.conftest import approved
from workers.engine import Engine, SerialEngine
from workers.stress.request import StressRequest
from workers.stress.run import StressRun

LAYERS = """[[layers]]
name = "own_contribution"
payer = "defaulter"
resource = "default_fund"

[[layers]]
name = "insurance_fund"
payer = "venue"

[[layers]]
name = "mutual_fund"
payer = "survivors"
resource = "default_fund"

[[layers]]
name = "socialised_loss"
payer = "winners"
capped = false
"""
"""Who bears what members' accounts and the vault lose, in the usual order."""

SMALL_PLAN = (
    """
name = "small"
version = "1"
effective = 2026-01-01
title = "Events, and some of the plan's own"
sources = ["made up for tests"]
origins = ["event"]
depth = 0.5
insurance_fund = 1_000_000.0

[liquidation]
closing = "to_target"
slice = 0.2
backstop = 0.6667

[impact]
coefficient = 0.8
source = "made up"

[cascade]
steps = 3
rounds = 25
least = 1000.0

"""
    + LAYERS
    + """
[[markets]]
coin = "BTC"
daily_volume = 20_000_000.0
daily_volatility = 0.025
source = "made up"

[[markets]]
coin = "ETH"
daily_volume = 10_000_000.0
daily_volatility = 0.03
source = "made up"

[[markets]]
coin = "SOL"
daily_volume = 3_000_000.0
daily_volatility = 0.06
source = "made up"

[[severities]]
of = ["liquidation cascade"]
times = [0.5, 1.5]

[[scenarios]]
name = "all quiet"
title = "nothing moves"
source = "made up"
[scenarios.shocks.price]
default = 0.0

[[scenarios]]
name = "down"
title = "everything falls, in a thin market"
depth = 0.1
source = "made up"
[scenarios.shocks.price]
default = -0.2
"""
)


@dataclasses.dataclass(frozen=True)
class Stressed:
    """A stress run that a test made; ``manifest`` is what its last stage returned."""

    run: StoredRun
    store: RunStore
    recognised: bool

    @property
    def digest(self) -> str:
        return self.run.manifest["digest"]

    def values(self, name: str) -> Any:
        """An array of the scenarios, ``(scenario, ...)``."""
        return self.run.groups["scenarios"][name].values

    def row(self, scenario: str) -> int:
        """Where a scenario stands."""
        return self.run.groups["scenarios"]["scenario"].values.tolist().index(scenario)


def stress(request: StressRequest, engine: Engine | None = None) -> Stressed:
    """Run a stress test in this process, serially unless told, and publish it."""
    engine = engine or SerialEngine()
    with StressRun(request, lambda: engine) as run:
        recognised = run.prepare()
        if not recognised:
            run.compute()
            run.publish()
    store = RunStore(request.stresses, STRESS)
    return Stressed(store.read(run.run_id), store, recognised)


def plan_file(folder: Path, text: str = SMALL_PLAN, **changes: str) -> str:
    """Write a plan, with the lines of some fields changed, and return its path.

    Every line that gives a field is changed.
    """
    lines = [
        f"{name} = {changes[name]}" if (name := line.partition(" =")[0]) in changes else line
        for line in text.splitlines()
    ]
    path = folder / "plan.toml"
    path.write_text(approved("\n".join(lines)))
    return str(path)
