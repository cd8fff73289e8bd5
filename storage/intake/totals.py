"""Exact sums of quantities by instrument: nothing may vanish between a file and a book."""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.intake.cells import EXACT_SCALE, Booleans, Exact

_LOW = (1 << 32) - 1


@dataclass
class Sums:
    """Long and short contracts by instrument, exact whatever their size and number."""

    size: int
    whole: list[list[int]] = field(default_factory=list)  # [long, short], in 10**-EXACT_SCALE
    rest: dict[tuple[int, int], Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    rows: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.whole = [[0, 0] for _ in range(self.size)]
        self.rows = np.zeros(self.size, np.int64)

    def add(
        self, instrument: NDArray[np.int64], quantity: Exact, chosen: NDArray[np.int64]
    ) -> None:
        """Add the chosen rows of a batch to the sums of their instruments."""
        target = instrument[chosen]
        np.add.at(self.rows, target, 1)
        values = quantity.unscaled[chosen]
        up = 10 ** (EXACT_SCALE - quantity.scale)
        for side, part in ((0, np.maximum(values, 0)), (1, np.minimum(values, 0))):
            # Halves of 32 bits cannot overflow before two thousand million rows.
            high, low = np.zeros(self.size, np.int64), np.zeros(self.size, np.int64)
            np.add.at(high, target, part >> 32)
            np.add.at(low, target, part & _LOW)
            for row in np.flatnonzero((high != 0) | (low != 0)).tolist():
                self.whole[row][side] += ((int(high[row]) << 32) + int(low[row])) * up
        if quantity.large:
            inside = np.zeros(len(instrument), np.bool_)
            inside[chosen] = True
            for row, (value, scale) in quantity.large.items():
                if inside[row]:
                    self.rest[int(instrument[row]), int(value < 0)] += Fraction(value, 10**scale)

    def side(self, row: int, side: int) -> Fraction:
        """Return the contracts of one instrument, long (0) or short (1, not positive)."""
        return Fraction(self.whole[row][side], 10**EXACT_SCALE) + self.rest.get(
            (row, side), Fraction()
        )

    def net(self, row: int) -> Fraction:
        """Return long plus short contracts of one instrument."""
        return self.side(row, 0) + self.side(row, 1)


@dataclass
class Reconciliation:
    """What came in by instrument, what was accepted and what is in quarantine."""

    names: pa.Array
    lot: list[tuple[int, int]]
    total: Sums
    quarantined: Sums
    unreadable: NDArray[np.int64]  # rows without a number
    unknown: Fraction = Fraction()  # net contracts in instruments that are not listed

    @classmethod
    def of(cls, names: pa.Array, lot: list[tuple[int, int]]) -> "Reconciliation":
        """Return an empty reconciliation over some instruments."""
        size = len(names)
        return cls(names, lot, Sums(size), Sums(size), np.zeros(size, np.int64))

    def add(self, instrument: NDArray[np.int64], quantity: Exact, bad: Booleans) -> None:
        """Count a batch of position rows; ``instrument`` is -1 where it is not listed."""
        readable = quantity.status == 0
        listed = instrument >= 0
        self.total.add(instrument, quantity, np.flatnonzero(listed & readable))
        self.quarantined.add(instrument, quantity, np.flatnonzero(listed & readable & bad))
        np.add.at(self.unreadable, instrument[listed & ~readable], 1)
        others = np.flatnonzero(~listed & readable)
        if len(others):
            sums = Sums(1)
            sums.add(np.zeros(len(bad), np.int64), quantity, others)
            self.unknown += sums.net(0)

    def accepted_differs(self, lots: NDArray[np.object_]) -> list[str]:
        """Return instruments whose accepted lots are not what came in less the quarantine."""
        differing = []
        for row, count in enumerate(lots.tolist()):
            size, scale = self.lot[row]
            expected = self.total.net(row) - self.quarantined.net(row)
            if Fraction(count * size, 10**scale) != expected:
                differing.append(self.names[row].as_py())
        return differing

    def table(self) -> pa.Table:
        """Return contracts by instrument as exact decimal text, and rows by outcome."""
        size = len(self.names)
        accepted = self.total.rows - self.quarantined.rows
        columns: dict[str, pa.Array] = {"instrument": self.names}
        columns["rows_accepted"] = pa.array(accepted)
        columns["rows_quarantined"] = pa.array(self.quarantined.rows + self.unreadable)
        for word, side in (("long", 0), ("short", 1)):
            for outcome, sums in (("in", self.total), ("quarantined", self.quarantined)):
                texts = [decimal_text(abs(sums.side(row, side))) for row in range(size)]
                columns[f"{word}_{outcome}"] = pa.array(texts, pa.string())
            texts = [
                decimal_text(abs(self.total.side(row, side) - self.quarantined.side(row, side)))
                for row in range(size)
            ]
            columns[f"{word}_accepted"] = pa.array(texts, pa.string())
        return pa.table(columns)


def decimal_text(value: Fraction) -> str:
    """Return a decimal fraction in full, without trailing zeros.

    >>> decimal_text(Fraction(-5, 4)), decimal_text(Fraction(10**20)), decimal_text(Fraction(0))
    ('-1.25', '100000000000000000000', '0')
    """
    places = 0
    while value.denominator != 1 and (value * 10**places).denominator != 1:
        places += 1
    whole = abs(int(value * 10**places))
    digits = str(whole).zfill(places + 1)
    text = digits[:-places] + "." + digits[-places:] if places else digits
    return ("-" if value < 0 else "") + text
