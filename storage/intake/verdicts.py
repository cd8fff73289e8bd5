"""Verdicts on holdings joined to claims: what a proof shows of a claim stands, not what is said."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage import tables
from storage.intake.cells import Booleans, Status
from storage.intake.checks import Rows
from storage.intake.references import PAIRING, index_of, joined
from storage.quarantine import Findings

STATED = tables.STANDINGS.index("stated")
HOLDING_KEY = ("account", *tables.TOKENS.key)


@dataclass(frozen=True, slots=True)
class JudgedHolding:
    """A holding and what it came to, in the words of claims.

    ``key`` is account, token, chain, protocol and bridge, None where it names none that claims
    could have; ``owner`` is 0x and 40 digits. ``outcome`` is a code of the findings where
    ``refused``. What was shown is ``digits`` over 10 to the power of ``places``; ``standing`` is a
    row of ``STANDINGS``, ``root`` and ``proof`` have 16 bytes or none.
    """

    file: str
    key: tuple[str, ...] | None
    owner: str
    outcome: str
    where: str
    refused: bool
    standing: int
    digits: int
    places: int
    root: bytes
    proof: bytes
    height: int | None


@dataclass(frozen=True, slots=True)
class Known:
    """How the claims of a batch are known, ``(row,)``; ``root`` and ``proof`` are ``(row, 16)``.

    ``standing`` is a row of ``STANDINGS``, -1 where it could not be read; ``height`` is NaN where
    none is given.
    """

    standing: NDArray[np.int8]
    root: NDArray[np.uint8]
    proof: NDArray[np.uint8]
    height: NDArray[np.float64]


@dataclass
class Verdicts:
    """Holdings by the account, token and owner that they are of; ``source`` goes in the manifest.

    A claim that names no owner is matched where its account has a single owner of the token.
    """

    holdings: Sequence[JudgedHolding]
    source: Mapping[str, Any]
    _groups: list[dict[str, list[int]]] = field(init=False)
    _keys: pa.Array = field(init=False)
    _matched: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for at, one in enumerate(self.holdings):
            if one.key is not None:
                groups[PAIRING.join(one.key)][one.owner].append(at)
        self._groups = list(groups.values())
        self._keys = pa.array(groups, pa.string())

    def judge(self, rows: Rows, said: Known) -> Known:
        """Return how the claims of a batch are known by their holdings, whatever they say.

        A claim whose holding is refused, or shows another quantity, is set aside. One that says a
        better standing than is shown is taken with what is shown, and told. Without a holding it is
        stated, shows no proof, and rests on the root that it says.
        """
        standing = np.where(said.standing >= 0, np.int8(STATED), said.standing)
        root, height = said.root.copy(), said.height.copy()
        proof = np.zeros_like(said.proof)
        found: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
        for row, one in self._matches(rows):
            if one.refused:
                found[one.outcome, "standing"][row] = _said(one)
            elif one.standing != STATED:
                standing[row] = one.standing
                root[row] = np.frombuffer(one.root, np.uint8)
                if one.proof:
                    proof[row] = np.frombuffer(one.proof, np.uint8)
                if one.height is not None:
                    height[row] = one.height
                if not _equal(rows, row, one):
                    value = f"{rows.text['quantity'][row]}, {one.file} shows {_decimal(one)}"
                    found["QUANTITY_NOT_SHOWN", "quantity"][row] = value
        for (code, column), values in sorted(found.items()):
            _flag(rows, code, column, values)
        better = (said.standing >= 0) & (said.standing < standing) & ~rows.bad
        rows.flag("STANDING_NOT_SHOWN", "standing", better)
        return Known(standing, root, proof, height)

    def finish(self, findings: Findings) -> None:
        """Tell which holdings are of no claim."""
        left = [one for at, one in enumerate(self.holdings) if at not in self._matched]
        findings.add_rows(
            "HOLDING_UNUSED",
            "proofs",
            "holding",
            rows=pa.array([one.file for one in left], pa.string()),
            values=pa.array([_said(one) for one in left], pa.string()),
            lines=np.zeros(len(left), np.int64),
        )

    def _matches(self, rows: Rows) -> list[tuple[int, JudgedHolding]]:
        """Return rows and the holding of each: one that is refused before the best that is not."""
        group = index_of(joined(rows, HOLDING_KEY), self._keys)
        found = []
        for row in np.flatnonzero(group >= 0).tolist():
            by_owner = self._groups[group[row]]
            owner = rows.text["owner"][row].as_py().lower()
            if not owner and len(by_owner) == 1:
                (owner,) = by_owner
            own = by_owner.get(owner, [])
            self._matched.update(own)
            if own:
                found.append((row, self.holdings[min(own, key=self._order)]))
        return found

    def _order(self, holding: int) -> tuple[bool, int, int]:
        # No attestation mends a proof that does not hold.
        one = self.holdings[holding]
        return not one.refused, one.standing, holding


def _flag(rows: Rows, code: str, column: str, values: Mapping[int, str]) -> None:
    """Record a finding for some rows that are not set aside, each with the value that was seen."""
    mask: Booleans = np.zeros(len(rows), np.bool_)
    mask[list(values)] = True
    seen = pa.array([values.get(row, "") for row in range(len(rows))], pa.string())
    rows.flag(code, column, mask & ~rows.bad, values=seen)


def _equal(rows: Rows, row: int, one: JudgedHolding) -> bool:
    """Tell whether a row claims exactly the quantity of a holding."""
    exact = rows.exact["quantity"]
    if exact.status[row] != Status.GOOD:
        return False
    unscaled, scale = exact.large.get(row, (int(exact.unscaled[row]), exact.scale))
    return bool(unscaled * 10**one.places == one.digits * 10**scale)


def _decimal(one: JudgedHolding) -> str:
    digits = f"{one.digits:0{one.places + 1}}"
    return digits if not one.places else f"{digits[: -one.places]}.{digits[-one.places :]}"


def _said(one: JudgedHolding) -> str:
    return f"{one.outcome} in {one.file}{f', {one.where}' if one.where else ''}"
