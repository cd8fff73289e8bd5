"""An order of liquidation in a stress run: what a round takes, and the same however it is cut."""

import numpy as np
import pytest

from tests.workers.stressed import SMALL_PLAN, plan_file, stress
from workers.stress.request import StressRequest

CAPACITY = 0.05
RULES = f'slice = 0.2\norder = "riskiest"\ncapacity = {CAPACITY}'
MAINTENANCE = '[maintenance]\nscan = 0.1\nminimum = 0.02\nsource = "made up"\n\n[impact]'


@pytest.fixture(scope="module")
def stressed(synthetic_book, margin_of, tmp_path_factory):
    """Return a function that stresses one book by a plan with some of its text changed."""
    margined = margin_of(synthetic_book(9_000))

    def of(*changes, **options):
        folder = tmp_path_factory.mktemp("order")
        text = SMALL_PLAN
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return stress(
            StressRequest(
                run=margined.run.run_id,
                plan=plan_file(folder, text, rounds="60"),
                runs=margined.request.runs,
                stresses=folder / "stresses",
                **options,
            )
        )

    return of


def test_what_a_round_has_no_room_for_waits(stressed):
    together, queued = stressed(), stressed(("slice = 0.2", RULES), shards=1, batch=64)
    assert stressed(("slice = 0.2", RULES), shards=3, batch=5).digest == queued.digest
    assert queued.values("rounds").max() > together.values("rounds").max()
    # A round sells what there is room for, and one account more of each coin.
    most = np.nanmax(queued.values("sold"), axis=1)
    volume = CAPACITY * queued.run.groups["plan"]["depth"].values * 33e6
    assert np.nanmax(together.values("sold"), axis=1).max() > most.max()
    assert (most > volume).any()
    down = queued.row("down")
    assert queued.values("liquidated")[down, 0] < together.values("liquidated")[down, 0]


def test_maintenance_that_follows_prices_closes_others(stressed):
    first = stressed()
    follows = stressed(("[impact]", MAINTENANCE), shards=1, batch=64)
    assert stressed(("[impact]", MAINTENANCE), shards=3, batch=5).digest == follows.digest
    quiet = first.row("all quiet")
    for name in ("liquidated", "sold"):
        np.testing.assert_array_equal(
            first.values(name)[quiet, :1], follows.values(name)[quiet, :1]
        )
    # In a fall futures ask for less, so that fewer are closed by the end of the first step.
    down = first.row("down")
    assert follows.values("liquidated")[down, 0] < first.values("liquidated")[down, 0]
    assert not np.array_equal(first.values("lost"), follows.values("lost"))
