"""What a collateral run will take is told before, and refused where it is too much."""

import pytest

from workers.memory import Limit, Room, TooLargeForMemory
from workers.pool.memory import PoolWork, project_pool

WORK = PoolWork(
    claims=4_000_000, shard_claims=280_000, shard_positions=750_000, shard_accounts=65_536
)


def test_what_does_not_fit_is_refused_with_the_numbers():
    small = Room(Limit(1_500_000_000, "container"), workers=2, processes=True)
    with pytest.raises(TooLargeForMemory, match=r"4,000,000 claims needs 3\.\d GB here, container"):
        project_pool(WORK, [small])


def test_the_leader_is_in_the_first_room_and_workers_in_theirs():
    leader = Room(Limit(10**11, "machine"), workers=0)
    node = Room(Limit(10**11, "Ray node"), workers=2, processes=True)
    alone = project_pool(WORK, [leader]).total
    both = project_pool(WORK, [leader, node]).total
    assert alone > 4_000_000 * 260
    assert both - alone == project_pool(WORK, [leader, node, node]).total - both
