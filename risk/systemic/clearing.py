"""The greatest clearing vector: what every node can pay when all pay at once.

A node's value is its external assets and what the others pay it. It pays its obligations in full
where its value covers them; otherwise it defaults and pays what is left of its value: a part of
its external assets and a part of what it receives. Classes of debt are paid in turn, each pro rata
among its creditors, external ones with it.

Sources: L. Eisenberg and T. Noe, "Systemic risk in financial systems" (2001), with the fictitious
default algorithm of its section 3; L. Rogers and L. Veraart, "Failure and rescue in an interbank
network" (2013), definitions 3.1 and 3.6; H. Elsinger, "Financial networks, cross holdings, and
limited liability" (2009), for classes of seniority.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, diags_array

from risk.systemic.network import Floats, amounts, fractions, liability_matrix
from risk.systemic.payments import OpenPayments

ROUNDING = 1e-12
"""A value short of the obligations by this part of them is taken for rounding, not for default."""


@dataclass(frozen=True, slots=True)
class Debt:
    """One class of debt: ``liabilities`` ``(node, node)``, rows owe columns, dense or sparse.

    ``external`` ``(node,)`` is owed to creditors that are no nodes, of the same rank.
    """

    liabilities: Any
    external: ArrayLike = 0.0


@dataclass(frozen=True, slots=True)
class Clearing:
    """What is paid, with the class of debt on the first axis, the most senior first.

    ``paid`` and ``owed`` ``(class, node)`` hold what goes to nodes and to external creditors;
    ``paid_externally`` ``(class, node)`` the latter's part. ``received`` and ``value`` ``(node,)``
    are what nodes pay it, and that with its external assets, before costs of default.
    ``default_cost`` ``(node,)`` is what default destroys. ``round`` ``(node,)`` is 0 where a node
    pays in full, 1 where it defaults though all others pay, r where it does because those before
    did. ``residual`` is the largest distance from a fixed point, a part of what is owed.
    """

    paid: Floats
    owed: Floats
    paid_externally: Floats
    received: Floats
    value: Floats
    default_cost: Floats
    round: NDArray[np.int64]
    residual: float

    @property
    def payment(self) -> Floats:
        """Return what each node pays in all, ``(node,)``."""
        return np.asarray(self.paid.sum(axis=0))

    @property
    def obligation(self) -> Floats:
        """Return what each node owes in all, ``(node,)``."""
        return np.asarray(self.owed.sum(axis=0))

    @property
    def defaulted(self) -> NDArray[np.bool_]:
        """Return which nodes do not pay in full, ``(node,)``."""
        return self.round > 0

    @property
    def shortfall(self) -> Floats:
        """Return what creditors of each node lose, ``(node,)``, non-negative."""
        return np.asarray((self.owed - self.paid).sum(axis=0))

    @property
    def equity(self) -> Floats:
        """Return value less obligation, before costs of default, ``(node,)``; gains positive."""
        return self.value - self.obligation


def clear(
    external_assets: ArrayLike,
    debts: Debt | Sequence[Debt],
    external_recovery: ArrayLike = 1.0,
    network_recovery: ArrayLike = 1.0,
) -> Clearing:
    """Return the greatest clearing vector of a network, ``(node,)`` and ``(node, node)``.

    ``debts`` is one class, or several with the most senior first. ``external_recovery`` and
    ``network_recovery`` (alpha and beta of Rogers and Veraart) are the parts of its external
    assets, and of what it receives, that a defaulter's creditors get. A recovery below one makes
    several vectors clear; this is the greatest, found from above.

    Raises:
        ValueError: shapes disagree, an amount is negative or not finite, a node owes itself, or a
            recovery is no fraction. A loss is an external liability, not a negative asset.

    >>> paid = clear([10.0, 10.0, 10.0], Debt([[0, 20, 10], [5, 0, 24], [10, 0, 0]])).payment
    >>> paid.round(4).tolist()
    [24.5455, 26.3636, 10.0]
    """
    assets = np.asarray(external_assets, np.float64)
    nodes = assets.size
    problem = _Problem(
        amounts("external_assets", assets, nodes),
        [debts] if isinstance(debts, Debt) else list(debts),
        fractions("external_recovery", external_recovery, nodes),
        fractions("network_recovery", network_recovery, nodes),
    )
    return problem.solve()


def paid_links(clearing: Clearing, debts: Debt | Sequence[Debt]) -> list[Any]:
    """Return what each node pays each other, one CSR array ``(node, node)`` a class of debt."""
    classes = [debts] if isinstance(debts, Debt) else list(debts)
    matrices = [liability_matrix("liabilities", one.liabilities) for one in classes]
    due = clearing.owed
    part = np.divide(clearing.paid, due, out=np.zeros_like(due), where=due > 0.0)
    return [
        csr_array(diags_array(row) @ matrix) for row, matrix in zip(part, matrices, strict=True)
    ]


class _Problem:
    """One network, with the class that each defaulter still pays a part of.

    ``reach[i]`` is the class whose payment of node i is open: those before it are paid in full,
    those after it not at all. It is the number of classes where the node pays in full.
    """

    def __init__(self, assets: Floats, debts: list[Debt], alpha: Floats, beta: Floats) -> None:
        if not debts:
            raise ValueError("debts is empty; give at least one class")
        nodes = len(assets)
        self.assets, self.alpha, self.beta = assets, alpha, beta
        matrices = [liability_matrix("liabilities", one.liabilities, nodes) for one in debts]
        external = [amounts("external", one.external, nodes) for one in debts]
        self.owed = np.array([m.sum(axis=1) + e for m, e in zip(matrices, external, strict=True)])
        self.external_part = np.divide(
            np.array(external), self.owed, out=np.zeros_like(self.owed), where=self.owed > 0.0
        )
        self.shares = [_shares(m, row) for m, row in zip(matrices, self.owed, strict=True)]
        self.before = np.cumsum(self.owed, axis=0) - self.owed
        self.obligation = self.owed.sum(axis=0)

    def received(self, paid: Floats) -> Floats:
        return np.asarray(sum(m.T @ row for m, row in zip(self.shares, paid, strict=True)))

    def solve(self) -> Clearing:
        classes, nodes = self.owed.shape
        reach = np.full(nodes, classes)
        first = np.zeros(nodes, np.int64)
        paid = self.owed.copy()
        number = 0
        while True:
            value = self.assets + self.received(paid)
            fails = (reach == classes) & (value < self.obligation * (1.0 - ROUNDING))
            if not fails.any():
                break
            number += 1
            first[fails] = number
            reach[fails] = classes - 1
            paid = self._pay(reach, paid)
        received = self.received(paid)
        value = self.assets + received
        left = self.alpha * self.assets + self.beta * received
        due = np.clip(np.where(reach < classes, left, np.inf) - self.before, 0.0, self.owed)
        away = np.divide(
            np.abs(due - paid), self.owed, out=np.zeros_like(paid), where=self.owed > 0.0
        )
        return Clearing(
            paid=paid,
            owed=self.owed,
            paid_externally=paid * self.external_part,
            received=received,
            value=value,
            default_cost=np.where(first > 0, value - left, 0.0),
            round=first,
            residual=float(away.max(initial=0.0)),
        )

    def _pay(self, reach: NDArray[np.int64], paid: Floats) -> Floats:
        """Return payments with these defaulters; lowers ``reach`` where a class gets nothing."""
        classes = len(self.owed)
        row = np.arange(classes)[:, None]
        while True:
            failed = np.flatnonzero(reach < classes)
            open_class = reach[failed]
            full = np.where(row < reach, self.owed, 0.0)
            fixed = self.alpha * self.assets + self.beta * self.received(full)
            part = self._open_part(
                failed,
                open_class,
                fixed[failed] - self.before[open_class, failed],
                paid[open_class, failed],
            )
            paid = full
            paid[open_class, failed] = np.clip(part, 0.0, self.owed[open_class, failed])
            lowered = failed[(part < 0.0) & (open_class > 0)]
            if not len(lowered):
                return paid
            reach[lowered] -= 1
            paid[reach[lowered], lowered] = self.owed[reach[lowered], lowered]

    def _open_part(
        self,
        failed: NDArray[np.int64],
        open_class: NDArray[np.int64],
        fixed: Floats,
        start: Floats,
    ) -> Floats:
        """Return x = fixed + beta S max(x, 0) over defaulters, by policy iteration from below.

        Below zero is what a defaulter lacks for the classes before its open one. Who pays at first
        has something of its own: were all taken to pay, debts round a circle of nodes that lack
        for seniors would have no solution.
        """
        tolerance = ROUNDING * self.obligation[failed]
        system = OpenPayments(self.shares, self.beta, failed, open_class)
        pays = fixed >= 0.0
        for _ in range(len(failed) + 1):
            start = system.solve(fixed, start, pays)
            still = start >= -tolerance
            if (still == pays).all():
                break
            pays = still
        return np.where(np.abs(start) <= tolerance, np.maximum(start, 0.0), start)


def _shares(liabilities: Any, owed: Floats) -> Any:
    """Return the part of each row node's payment that goes to each column node."""
    shares = liabilities.copy()
    shares.data = shares.data / np.repeat(owed, np.diff(shares.indptr))
    return shares
