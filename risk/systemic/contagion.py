"""Contagion between members, venues, protocols and chains: one network, several layers of claims.

A layer is a kind of claim (margin calls, deposits, bridged assets, loans). Nodes stand in all
layers at once: what one loses in a layer it lacks in the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from risk.systemic.clearing import ROUNDING, Clearing, Debt, clear
from risk.systemic.debt_rank import DebtRank, linear_debt_rank
from risk.systemic.network import Floats, amounts, fractions, from_links, liability_matrix


@dataclass(frozen=True, slots=True)
class Exposures:
    """Single claims: ``debtor`` owes ``creditor`` an ``amount`` in a ``layer``, all ``(claim,)``.

    Nodes and layers are row numbers; amounts are money and positive.
    """

    debtor: NDArray[np.int64]
    creditor: NDArray[np.int64]
    amount: Floats
    layer: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ExposureNetwork:
    """Nodes with their names and kinds, and one matrix of liabilities ``(node, node)`` a layer."""

    nodes: tuple[str, ...]
    kinds: tuple[str, ...]
    layers: Mapping[str, Any]

    def liabilities(self, layers: Sequence[str] | None = None) -> Any:
        """Return what nodes owe each other in some layers together, in all where left out.

        Raises:
            ValueError: a layer is unknown.
        """
        names = list(self.layers if layers is None else layers)
        unknown = sorted(set(names) - set(self.layers))
        if unknown:
            raise ValueError(f"layers {unknown} are not there; the network has {list(self.layers)}")
        size = len(self.nodes)
        return csr_array(sum((self.layers[name] for name in names), csr_array((size, size))))


@dataclass(frozen=True, slots=True)
class LayeredLoss:
    """What creditors lose, by layer: ``links`` has one matrix ``(debtor, creditor)`` a layer.

    ``by_layer`` ``(layer, node)`` is what each node loses as creditor, in the order of ``names``.
    """

    names: tuple[str, ...]
    links: tuple[Any, ...]

    @property
    def by_layer(self) -> Floats:
        """Return each creditor's loss, ``(layer, node)``."""
        return np.array([link.sum(axis=0) for link in self.links])


def exposure_network(
    nodes: Sequence[str], kinds: Sequence[str], layers: Sequence[str], exposures: Exposures
) -> ExposureNetwork:
    """Return the network of single claims; those of the same two nodes in a layer are added up.

    Raises:
        ValueError: names are not unique, a node or layer is not there, an amount is negative or
            not finite, or a node owes itself.
    """
    for what, names in (("node", nodes), ("layer", layers)):
        if len(set(names)) != len(names):
            raise ValueError(f"a {what} stands twice; give each its own name")
    if len(kinds) != len(nodes):
        raise ValueError(f"there are {len(kinds)} kinds for {len(nodes)} nodes; give one for each")
    away = (exposures.layer < 0) | (exposures.layer >= len(layers))
    if away.any():
        raise ValueError(
            f"layer {exposures.layer[away][0]} is not there; allowed are rows 0 to "
            f"{len(layers) - 1}"
        )
    matrices = {}
    for number, name in enumerate(layers):
        rows = exposures.layer == number
        matrices[name] = from_links(
            exposures.debtor[rows], exposures.creditor[rows], exposures.amount[rows], len(nodes)
        )
    return ExposureNetwork(tuple(nodes), tuple(kinds), matrices)


def clear_layers(
    network: ExposureNetwork,
    external_assets: ArrayLike,
    seniority: Sequence[Sequence[str]],
    external_liabilities: ArrayLike = 0.0,
    external_class: int | None = None,
    external_recovery: ArrayLike = 1.0,
    network_recovery: ArrayLike = 1.0,
) -> tuple[Clearing, LayeredLoss]:
    """Return the clearing of all layers at once, and what creditors lose in each.

    ``seniority`` has the layers of each class of debt, the most senior first; layers of one class
    are paid pro rata. ``external_liabilities`` ``(node,)`` rank with the class ``external_class``,
    a row of ``seniority``; where left out, they are a class of their own before all others.

    Raises:
        ValueError: a layer is missing, unknown or in two classes, or ``clear`` refuses.
    """
    debts, first = _debts(network, seniority, external_liabilities, external_class)
    cleared = clear(external_assets, debts, external_recovery, network_recovery)
    return cleared, _losses(network, _lost_parts(cleared.paid, cleared.owed, seniority, first))


def first_losses(
    network: ExposureNetwork,
    external_assets: ArrayLike,
    seniority: Sequence[Sequence[str]],
    external_liabilities: ArrayLike = 0.0,
    external_class: int | None = None,
    external_recovery: ArrayLike = 1.0,
    network_recovery: ArrayLike = 1.0,
) -> LayeredLoss:
    """Return what creditors lose to those who default though all others pay: without contagion.

    Arguments as ``clear_layers``, of whose losses these are the first part.

    Raises:
        ValueError: a layer is missing, unknown or in two classes, or an amount is refused.
    """
    size = len(network.nodes)
    debts, first = _debts(network, seniority, external_liabilities, external_class)
    matrices = [liability_matrix("liabilities", one.liabilities, size) for one in debts]
    outside = [amounts("external", one.external, size) for one in debts]
    owed = np.array([m.sum(axis=1) + e for m, e in zip(matrices, outside, strict=True)])
    assets = amounts("external_assets", external_assets, size)
    received = np.asarray(sum(matrix.sum(axis=0) for matrix in matrices), np.float64)
    fails = assets + received < owed.sum(axis=0) * (1.0 - ROUNDING)
    left = fractions("external_recovery", external_recovery, size) * assets
    left = left + fractions("network_recovery", network_recovery, size) * received
    before = np.cumsum(owed, axis=0) - owed
    paid = np.clip(np.where(fails, left, np.inf) - before, 0.0, owed)
    return _losses(network, _lost_parts(paid, owed, seniority, first))


def _debts(
    network: ExposureNetwork,
    seniority: Sequence[Sequence[str]],
    external_liabilities: ArrayLike,
    external_class: int | None,
) -> tuple[list[Debt], int]:
    """Return the classes of debt, and the place of the first that has layers."""
    listed = [name for one in seniority for name in one]
    if sorted(listed) != sorted(network.layers):
        raise ValueError(
            f"seniority has the layers {listed}; each of {list(network.layers)} stands in it once"
        )
    if external_class is not None and not 0 <= external_class < len(seniority):
        raise ValueError(
            f"external_class is {external_class}; allowed are rows 0 to {len(seniority) - 1}"
        )
    size = len(network.nodes)
    debts = [
        Debt(network.liabilities(one), external_liabilities if row == external_class else 0.0)
        for row, one in enumerate(seniority)
    ]
    first = 0
    if external_class is None:
        debts.insert(0, Debt(csr_array((size, size)), external_liabilities))
        first = 1
    return debts, first


def _lost_parts(
    paid: Floats, owed: Floats, seniority: Sequence[Sequence[str]], first: int
) -> dict[str, Floats]:
    """Return the part of each layer that each node does not pay, ``(node,)`` each."""
    return {
        name: 1.0 - _part(paid[row], owed[row])
        for row, one in enumerate(seniority, first)
        for name in one
    }


def debt_rank_layers(
    network: ExposureNetwork, equity: ArrayLike, shock: ArrayLike
) -> tuple[DebtRank, LayeredLoss]:
    """Return linear DebtRank over all layers at once, and what creditors lose in each.

    Raises:
        ValueError: ``linear_debt_rank`` refuses.
    """
    found = linear_debt_rank(network.liabilities().T, equity, shock)
    return found, _losses(network, dict.fromkeys(network.layers, found.relative_loss))


def pass_bad_debt(
    bad_debt: ArrayLike, deposits: Any, reserve: ArrayLike = 0.0
) -> tuple[Floats, Floats]:
    """Return what depositors lose to protocols' bad debt, and what nobody bears.

    ``bad_debt`` and ``reserve`` are ``(protocol,)``, ``deposits`` ``(protocol, depositor)``, dense
    or sparse. A protocol's reserve bears its bad debt first, then its depositors do, pro rata and
    up to what they deposited; -> ``(depositor,)``, ``(protocol,)``.

    Raises:
        ValueError: shapes disagree, or an amount is negative or not finite.

    >>> loss, left = pass_bad_debt([30.0, 9.0], [[60.0, 40.0], [4.0, 0.0]], [10.0, 0.0])
    >>> loss.tolist(), left.tolist()
    ([16.0, 8.0], [0.0, 5.0])
    """
    held = csr_array(deposits, dtype=np.float64)
    protocols = held.shape[0]
    if not ((held.data >= 0.0) & (held.data < np.inf)).all():
        raise ValueError("deposits hold a negative amount, or one that is not finite")
    bad = amounts("bad_debt", bad_debt, protocols)
    passed = np.maximum(bad - amounts("reserve", reserve, protocols), 0.0)
    total = np.asarray(held.sum(axis=1))
    borne = np.minimum(passed, total)
    return np.asarray(held.T @ _part(borne, total, empty=0.0)), passed - borne


def default_losses(network: ExposureNetwork, lost_part: ArrayLike) -> LayeredLoss:
    """Return what creditors lose where each node fails to pay a given part, ``(node,)``.

    The direct losses, without what creditors then fail to pay themselves.

    Raises:
        ValueError: a part is no fraction.
    """
    part = fractions("lost_part", lost_part, len(network.nodes))
    return _losses(network, dict.fromkeys(network.layers, part))


def _losses(network: ExposureNetwork, lost_part: Mapping[str, Floats]) -> LayeredLoss:
    links = []
    for name, matrix in network.layers.items():
        lost = matrix.copy()
        lost.data *= np.repeat(lost_part[name], np.diff(matrix.indptr))
        lost.eliminate_zeros()
        links.append(lost)
    return LayeredLoss(tuple(network.layers), tuple(links))


def _part(some: Floats, whole: Floats, empty: float = 1.0) -> Floats:
    return np.divide(some, whole, out=np.full_like(whole, empty), where=whole > 0.0)
