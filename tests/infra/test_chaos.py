"""A few seeds of a campaign and a short queue, for real."""

import pytest

from infra.chaos.campaign import campaign
from infra.chaos.load import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_short_campaign_loses_nothing():
    found = campaign([1, 2, 3], 5.0, ray=False)
    assert found["seeds"] == 3
    assert sum(fault["injected"] for fault in found["faults"].values()) > 0
    assert (found["lost"], found["wrong"], found["failed_seeds"]) == (0, 0, [])


def test_a_short_queue_loses_nothing_and_leaves_nobody():
    found = load(20, 5.0)
    assert (found["done"], found["published"], found["lost"], found["orphans"]) == (20, 20, 0, 0)
    assert not found["wrong"]
