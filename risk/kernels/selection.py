"""The lowest values of a row, exactly, and where they are.

Selection is by counting. The minima of disjoint groups of scenarios bound the tail from above,
because as many scenarios as there are minima under a bound lie under it; a lower bound is likely
to do, and is tried first. One compare of the row against the bound leaves little more than the
tail, and the end of the tail is found among those few by narrowing an interval until it holds a
handful, which are sorted. Any bound that holds gives the same result, so neither the width of
vectors nor the order of comparisons shows in it.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import compiled
from risk.kernels.plan import Plan
from risk.kernels.registers import Registers, lanes_of, width
from risk.kernels.vectors import (
    MASK,
    at_most,
    count_of_64,
    least_of_64,
    lowest_bit,
    number_of_bits,
    sorted_minima,
    take,
)

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]

HANDFUL = 3
"""Values that are sorted rather than told apart by counting."""
NARROWINGS = 64
"""Rounds of counting before an interval is sorted however many values it holds."""
UNROLLED = 8
"""Values taken from a mask without asking whether it holds so many; divides ``MASK``."""


class Workspace(NamedTuple):
    """Memory that selection uses while it works on one row, and where it looks for bounds.

    ``sections``, ``likely`` and ``sure`` ``(measure,)``, see ``bound_ranks``.
    """

    minima: Floats
    masks: NDArray[np.uint64]
    ordered: Floats
    weighted: Floats
    units: NDArray[np.int64]
    ordered_units: NDArray[np.int64]
    sections: NDArray[np.int64]
    likely: NDArray[np.int64]
    sure: NDArray[np.int64]


def workspace(registers: Registers, scenarios: int, plan: Plan) -> Workspace:
    """Return memory for the measures of a plan on rows of so many scenarios."""
    first = np.where(plan.reach > 0, plan.recent, plan.start)
    ranks = [
        bound_ranks(registers, int(length), int(depth))
        for length, depth in zip(plan.stop - first, plan.depth, strict=True)
    ]
    sections, likely, sure = np.array(ranks, dtype=np.int64).reshape(-1, 3).T.copy()
    return Workspace(
        minima=np.empty(registers.lanes * registers.accumulators),
        masks=np.empty(scenarios // MASK + 1, dtype=np.uint64),
        ordered=np.empty(scenarios),
        weighted=np.zeros(scenarios + MASK),
        units=np.zeros(scenarios + MASK, dtype=np.int64),
        ordered_units=np.zeros(scenarios + MASK, dtype=np.int64),
        sections=sections,
        likely=likely,
        sure=sure,
    )


def bound_ranks(registers: Registers, length: int, depth: int) -> tuple[int, int, int]:
    """Return how a row is cut for its tail's bound, and which minima bound it.

    A row is cut into sections, and a section, lane by lane, into as many groups as there are
    accumulators. ``sure`` is the rank among a lane's minima at which the greatest of all lanes is
    no less than ``depth`` scenarios. At ``likely`` the mean of the lanes is expected, were the
    scenarios in random order, to be above two deviations more than ``depth``. No section at all
    where the scenarios are too few for groups.
    """
    groups, wide = registers.accumulators, registers.accumulators * registers.lanes
    chunks = length // wide
    sections = (5 * depth + 3 * wide - 1) // (3 * wide)
    if sections > chunks:
        return 0, 0, 0
    sure = -(-depth // (sections * registers.lanes))
    wanted, members = depth + 2.0 * math.sqrt(depth), chunks / sections
    share = 1.0 - (1.0 - min(1.0, wanted / (chunks * wide))) ** members
    return sections, min(sure, max(1, math.ceil(share * (groups + 1)))), sure


@compiled
def least(registers: Any, values: Floats, start: int, stop: int, work: Any) -> int:
    """Return where the least of ``values[start:stop]`` is, the first of equals."""
    covered = start + (stop - start) // width(registers) * width(registers)
    lowest = np.inf
    if covered > start:
        sorted_minima(registers, values, start, covered, work.minima)
        for lane in range(lanes_of(registers)):
            value = work.minima[lane]
            lowest = value if value < lowest else lowest
    for k in range(covered, stop):
        lowest = values[k] if values[k] < lowest else lowest
    for first in range(start, stop, MASK):
        mask = at_most(registers, values, first, lowest)
        if mask != 0:
            where: int = first + lowest_bit(mask)
            return where
    return start


@compiled
def tail_bounds(registers: Any, row: Floats, start: int, stop: int, m: int, work: Any) -> Any:
    """Return a value that the tail of measure ``m`` likely does not exceed, and one that is sure.

    The greatest of all where the scenarios are too few for groups.
    """
    wide, lanes = width(registers), lanes_of(registers)
    chunks, sections = (stop - start) // wide, work.sections[m]
    bound, total = -np.inf, 0.0
    if sections == 0:
        for k in range(start, stop):
            bound = row[k] if row[k] > bound else bound
        return bound, bound
    for k in range(sections):
        begin, end = k * chunks // sections * wide, (k + 1) * chunks // sections * wide
        sorted_minima(registers, row, start + begin, start + end, work.minima)
        for lane in range(lanes):
            total += work.minima[(work.likely[m] - 1) * lanes + lane]
            value = work.minima[(work.sure[m] - 1) * lanes + lane]
            bound = value if value > bound else bound
    likely = total / (sections * lanes)
    return (likely if likely < bound else bound), bound


@compiled
def gather(
    registers: Any, row: Floats, start: int, stop: int, bound: float, work: Any,
    values: Floats, scenarios: Rows,
) -> int:  # fmt: skip
    """Gather the scenarios up to a bound, in their order, and return their number.

    Infinities follow the values. The masks come first and are unpacked later, because a wrong
    guess about how many bits one holds would throw away the masks that are under way.
    """
    words = (stop - start + MASK - 1) // MASK
    for word in range(words):
        work.masks[word] = at_most(registers, row, start + word * MASK, bound)
    beyond = np.uint64(words * MASK - (stop - start))
    work.masks[words - 1] &= ~np.uint64(0) >> beyond
    found = 0
    for word in range(words):
        mask, first = work.masks[word], start + word * MASK
        end = found + number_of_bits(mask)
        while found < end:
            for k in range(UNROLLED):
                take(row, first + lowest_bit(mask), values, scenarios, found + k)
                mask &= mask - np.uint64(1)
            found += UNROLLED
        found = end
    values[found : found + MASK] = np.inf
    return found


@compiled
def count_at_most(registers: Any, values: Floats, found: int, bound: float) -> int:
    """Count the values up to a bound; infinities follow them."""
    count = 0
    for first in range(0, found, MASK):
        count += count_of_64(registers, values, first, bound)
    return count


@compiled
def order_statistic(
    registers: Any, values: Floats, found: int, high: float, rank: int, work: Any
) -> float:
    """Return the ``rank``-th lowest of the values, from 1; none is above ``high``."""
    low, floor, below, reached = np.inf, -np.inf, 0, found
    for first in range(0, found, MASK):
        value = least_of_64(registers, values, first)
        low = value if value < low else low
    for _ in range(NARROWINGS):
        share = (rank - below - 0.5) / (reached - below)
        share = 0.1 if share < 0.1 else (0.9 if share > 0.9 else share)
        middle = low + share * (high - low)
        if reached - below <= HANDFUL or not low < middle < high:
            break
        count = count_at_most(registers, values, found, middle)
        if count >= rank:
            high, reached = middle, count
        else:
            low, floor, below = middle, middle, count
    ordered, between = work.ordered, 0
    for first in range(0, found, MASK):
        mask = at_most(registers, values, first, high) & ~at_most(registers, values, first, floor)
        while mask != 0:
            value = values[first + lowest_bit(mask)]
            mask &= mask - np.uint64(1)
            k = between
            while k > 0 and ordered[k - 1] > value:
                ordered[k] = ordered[k - 1]
                k -= 1
            ordered[k] = value
            between += 1
    wanted: float = ordered[rank - below - 1]
    return wanted


@compiled
def gather_units(units: Any, scenarios: Rows, found: int, work: Any) -> int:
    """Gather the units of the scenarios that were found, and return their sum."""
    held = 0
    for k in range(found):
        work.units[k] = units[scenarios[k]]
        held += work.units[k]
    return held


@compiled
def units_at_most(values: Floats, units: Any, found: int, bound: float) -> Any:
    """Return how many units the values up to a bound hold, and how many values they are."""
    held, count = 0, 0
    for k in range(found):
        low = values[k] <= bound
        held += units[k] if low else 0
        count += 1 if low else 0
    return held, count


@compiled
def end_of_units(
    registers: Any, values: Floats, found: int, high: float, reached: int, reach: int, work: Any
) -> float:
    """Return the lowest value up to which the values hold ``reach`` units.

    All of them hold ``reached``, which is no less, and none is above ``high``.
    """
    low, floor, below, between = np.inf, -np.inf, 0, found
    for first in range(0, found, MASK):
        value = least_of_64(registers, values, first)
        low = value if value < low else low
    under = 0
    for _ in range(NARROWINGS):
        share = (reach - below) / (reached - below)
        share = 0.1 if share < 0.1 else (0.9 if share > 0.9 else share)
        middle = low + share * (high - low)
        if between - under <= HANDFUL or not low < middle < high:
            break
        held, count = units_at_most(values, work.units, found, middle)
        if held >= reach:
            high, reached, between = middle, held, count
        else:
            low, floor, below, under = middle, middle, held, count
    ordered, units, number = work.ordered, work.ordered_units, 0
    for first in range(0, found, MASK):
        mask = at_most(registers, values, first, high) & ~at_most(registers, values, first, floor)
        while mask != 0:
            place = first + lowest_bit(mask)
            value, unit = values[place], work.units[place]
            mask &= mask - np.uint64(1)
            k = number
            while k > 0 and ordered[k - 1] > value:
                ordered[k], units[k] = ordered[k - 1], units[k - 1]
                k -= 1
            ordered[k], units[k] = value, unit
            number += 1
    last = 0
    while last < number - 1 and below + units[last] < reach:
        below += units[last]
        last += 1
    wanted: float = ordered[last]
    return wanted


@compiled
def keep(registers: Any, values: Floats, scenarios: Rows, found: int, bound: float) -> int:
    """Keep the values up to a bound in place, and return their number."""
    kept = 0
    for first in range(0, found, MASK):
        mask = at_most(registers, values, first, bound)
        end = kept + number_of_bits(mask)
        while kept < end:
            for k in range(UNROLLED):
                place = first + lowest_bit(mask)
                values[kept + k], scenarios[kept + k] = values[place], scenarios[place]
                mask &= mask - np.uint64(1)
            kept += UNROLLED
        kept = end
    return kept
