"""Losses of netting sets over the capital behind each: what a margin system leaves uncovered.

A netting set is walled off: its losses are borne by its own capital, and its gains by nobody else's
losses. How positions are cut into sets, and what each set requires, is the margin system; the same
kernel serves them all.

Sums are exact in whole units of ``risk.kernels.sums.UNIT``, in whatever order sets come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from risk.kernels.compilation import kernel
from risk.kernels.positions import Positions, checked, read_only
from risk.kernels.registers import host_registers
from risk.kernels.rows import set_pnl
from risk.kernels.sums import UNIT, require_exact
from risk.kernels.vectors import MASK
from risk.specification import Specification
from risk.systemic.waterfall import LayerSpec

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class InsulationSpec(Specification):
    """Which walls between positions a stress test compares, beside margin systems and layers.

    Instruments of one venue, protocol or chain are behind one wall.
    """

    walls: tuple[Literal["venue", "protocol", "chain"], ...] = ()

    @model_validator(mode="after")
    def _each_wall_once(self) -> "InsulationSpec":
        twice = sorted({wall for wall in self.walls if self.walls.count(wall) > 1})
        if twice:
            raise ValueError(f"walls name {twice[0]!r} twice; name each once")
        return self


@dataclass(frozen=True, slots=True)
class CapitalSets:
    """Netting sets, each with the capital behind it in some arrangements.

    ``offsets`` ``(set+1,)`` cuts ``instrument`` and ``quantity`` ``(position,)``, contracts, long
    positive. ``group`` ``(set,)`` is who answers for the set; ``capital`` ``(set, arrangement)``,
    reporting currency, not negative. ``parts`` ``(set, arrangement)`` is how many parts fall with
    the set where it fails, one unless something could have kept them apart.
    """

    offsets: Rows
    instrument: NDArray[np.int32]
    quantity: Floats
    group: NDArray[np.int32]
    capital: Floats
    parts: Rows


@dataclass(frozen=True, slots=True)
class Insulated:
    """What arrangements of margin come to; sums over netting sets, money in reporting currency.

    ``capital`` and ``parts`` ``(arrangement,)``: capital, and the parts that there are. ``lost``
    ``(arrangement, scenario)``: losses of the sets that lose. ``uncovered``
    ``(arrangement, group, scenario)``: losses over the capital of each set. ``failed``
    ``(arrangement, scenario)``: parts of the sets that lose more than their capital.
    """

    capital: Floats
    parts: Rows
    lost: Floats
    uncovered: Floats
    failed: Rows

    def __add__(self, other: "Insulated") -> "Insulated":
        """Return the sums over these sets and others, of the same arrangements."""
        return Insulated(
            self.capital + other.capital,
            self.parts + other.parts,
            self.lost + other.lost,
            self.uncovered + other.uncovered,
            self.failed + other.failed,
        ).exact()

    def exact(self) -> "Insulated":
        """Return it where its sums are exact.

        Raises:
            ValueError: SUM_TOO_LARGE, as ``require_exact``.
        """
        for name, sums in (
            ("capital", self.capital),
            ("lost", self.lost),
            ("uncovered", self.uncovered.sum(axis=1)),
        ):
            require_exact(name, sums)
        return self


@kernel
def _lose(
    registers: Any, offsets: Any, instrument: Any, quantity: Any, group: Any, capital: Any,
    parts: Any, cube: Any, row: Any, lost: Any, uncovered: Any, failed: Any,
) -> None:  # fmt: skip
    for n in range(group.size):
        set_pnl(registers, cube, instrument, quantity, offsets[n], offsets[n + 1], row)
        for s in range(cube.shape[1]):
            pnl = row[s]
            if pnl < 0.0:
                lost[s] -= np.rint(pnl / UNIT)
                for a in range(capital.shape[1]):
                    left = capital[n, a] + pnl
                    if left < 0.0:
                        uncovered[a, group[n], s] -= np.rint(left / UNIT)
                        failed[a, s] += parts[n, a]


def lose_over_capital(sets: CapitalSets, cube: Floats, groups: int) -> Insulated:
    """Return what sets lose over the capital behind them, ``(instrument, scenario)`` P&L.

    ``cube`` is the P&L of one contract, gain positive.

    Raises:
        ValueError: positions that do not fit the cube, or SUM_TOO_LARGE, as ``require_exact``.

    >>> import numpy as np
    >>> two = CapitalSets(np.array([0, 1, 2]), np.array([0, 0], np.int32), np.array([1.0, -1.0]),
    ...     np.array([0, 1], np.int32), np.array([[3.0], [9.0]]), np.ones((2, 1), int))
    >>> found = lose_over_capital(two, np.array([[-5.0, 8.0]]), 2)
    >>> found.capital.tolist(), found.lost.tolist(), found.uncovered.tolist()
    ([12.0], [[5.0, 8.0]], [[[2.0, 0.0], [0.0, 0.0]]])
    """
    number, arrangements = sets.capital.shape
    whole = np.array([0, number], dtype=np.int64)
    held, cells = checked(Positions(whole, sets.offsets, sets.instrument, sets.quantity), cube)
    scenarios = cells.shape[1]
    lost = np.zeros(scenarios)
    uncovered = np.zeros((arrangements, groups, scenarios))
    failed = np.zeros((arrangements, scenarios), dtype=np.int64)
    _lose(
        host_registers(), held.set_offsets, held.instrument, held.quantity,
        read_only(sets.group, np.int32), read_only(sets.capital, np.float64),
        read_only(sets.parts, np.int64), cells, np.zeros(scenarios + MASK), lost, uncovered, failed,
    )  # fmt: skip
    return Insulated(
        capital=UNIT * np.rint(sets.capital / UNIT).sum(axis=0),
        parts=sets.parts.sum(axis=0),
        lost=UNIT * np.repeat(lost[np.newaxis], arrangements, axis=0),
        uncovered=UNIT * uncovered,
        failed=failed,
    ).exact()


def side_by_side(several: Sequence[Insulated]) -> Insulated:
    """Return arrangements of several cuts of the same positions, one after the other."""
    return Insulated(
        *(
            np.concatenate([getattr(one, name) for one in several])
            for name in ("capital", "parts", "lost", "uncovered", "failed")
        )
    )


def prefunded(layers: Sequence[LayerSpec]) -> NDArray[np.bool_]:
    """Tell which layers of a waterfall are paid out of what is there already, ``(layer,)``.

    Contributions of defaulters and survivors and amounts of the venue are. A later layer on
    contributions of survivors that an earlier one has drawn on is called for, and what winners give
    up is taken from them.

    >>> fund, more = (LayerSpec(name=n, payer="survivors", resource="fund") for n in ("a", "b"))
    >>> prefunded([fund, more, LayerSpec(name="c", payer="winners", capped=False)]).tolist()
    [True, False, False]
    """
    drawn: set[str] = set()
    found = []
    for layer in layers:
        again = layer.payer == "survivors" and layer.amounts in drawn
        found.append(layer.payer != "winners" and not again)
        if layer.payer == "survivors":
            drawn.add(layer.amounts)
    return np.array(found, dtype=np.bool_)
