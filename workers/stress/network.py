"""The exposure network of every scenario of a stress run, and how losses spread over it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from risk.claims.issuers import TokenIssuers
from risk.kernels.sums import UNIT
from risk.systemic.exposures import (
    LAYERS,
    Issuers,
    Settled,
    SystemNetwork,
    SystemNodes,
    system_network,
    system_nodes,
)
from risk.systemic.plan import StressPlan
from risk.systemic.spreading import Spread, spread_losses
from workers.stress.cascade import Cascade
from workers.stress.work import StressWork

Floats = NDArray[np.float64]

USD = {"units": "USD"}


def issued_arrays(cascade: Cascade, issued: TokenIssuers | None) -> dict[str, NDArray[np.generic]]:
    """Return what accounts pay with and have by issuer, as a batch of scenarios is stored.

    Without claims all of it lies with the venue, the first issuer.
    """
    last, found = cascade.last, cascade.custody
    if found is not None and issued is not None:
        return {
            "paid": np.moveaxis(found.paid, -1, 0),
            "held": np.moveaxis(found.held, -1, 0),
            "resting": UNIT * np.rint(issued.resting(found.by_token) / UNIT),
            "issuer_lost": found.bad_debt.T,
        }
    paid = (last.lost_by_group - last.uncovered).T[:, :, np.newaxis]
    scenarios = len(paid)
    return {
        "paid": paid,
        "held": np.zeros_like(paid),
        "resting": np.zeros((scenarios, 1, 1)),
        "issuer_lost": np.zeros((scenarios, 1)),
    }


def network_dataset(work: StressWork, stored: xr.Dataset) -> xr.Dataset:
    """Return the networks of all scenarios link by link, and what became of each node.

    Links are in the order of scenarios; a link is of a row of ``scenario``, ``layer`` and twice of
    ``node``. Money is USD and positive.
    """
    plan = work.identity.named.plan
    rules = plan.contagion
    members = work.identity.book.members()
    nodes = system_nodes(tuple(members["member"].to_pylist()), work.issuers)
    fund = UNIT * np.floor(members["default_fund"].to_numpy() / UNIT)
    resources = plan.insurance_fund + plan.own_capital
    found: list[tuple[SystemNetwork, Spread]] = []
    for row, name in enumerate(work.scenarios.name):
        failed = failing(plan, name)
        settled = _settled(stored.isel(scenario=row), fund, resources, failed, work.issuers)
        built = system_network(nodes, settled, rules)
        found.append((built, spread_losses(nodes, built, rules)))
    return _dataset(nodes, found, work.scenarios.name)


def failing(plan: StressPlan, scenario: str) -> list[tuple[str, float]]:
    """Return which issuers the plan lets fail in a scenario, and the part of all they owe.

    What fails in a scenario fails at the other depths that the plan takes it at.
    """
    return [
        lost
        for failure in plan.contagion.failures
        if not failure.of or any(scenario in plan.same_at_depths(name) for name in failure.of)
        for lost in failure.lost.items()
    ]


def _settled(
    one: xr.Dataset,
    fund: Floats,
    resources: float,
    failed: Sequence[tuple[str, float]],
    issuers: Issuers,
) -> Settled:
    """Return what a scenario came to; what has ``failed`` loses its part of all it owes."""
    paid, held, resting = (one[name].values for name in ("paid", "held", "resting"))
    owed = paid.sum(axis=0) + held.sum(axis=0) + resting.sum(axis=1)
    lost = one["issuer_lost"].values.copy()
    for name, part in failed:
        if name in issuers.names[1:]:
            lost[issuers.names.index(name)] += part * owed[issuers.names.index(name)]
    return Settled(
        gained=one["gained"].values,
        uncovered=one["uncovered"].values,
        paid=paid,
        held=held,
        resting=resting,
        lost=lost,
        default_fund=fund,
        vault_pnl=float(one["vault_pnl"].values),
        resources=resources,
    )


def _dataset(
    nodes: SystemNodes, found: Sequence[tuple[SystemNetwork, Spread]], scenarios: Sequence[str]
) -> xr.Dataset:
    by_node = ("scenario", "node")
    by_layer = ("scenario", "layer")
    rows = {
        "assets": [built.assets for built, _ in found],
        "lost": [built.lost for built, _ in found],
        "capital": [built.capital for built, _ in found],
        "obligation": [one.clearing.obligation for _, one in found],
        "payment": [one.clearing.payment for _, one in found],
        "received": [one.clearing.received for _, one in found],
        "default_cost": [one.clearing.default_cost for _, one in found],
        "default_round": [one.clearing.round for _, one in found],
        "lacking": [one.lacking for _, one in found],
        "borne": [one.borne for _, one in found],
        "distress": [one.rank.relative_loss for _, one in found],
    }
    sums = {
        "owed": [
            np.array([built.network.layers[name].sum() for name in LAYERS]) for built, _ in found
        ],
        "unpaid": [one.loss.by_layer.sum(axis=1) for _, one in found],
        "unpaid_directly": [one.direct.by_layer.sum(axis=1) for _, one in found],
        "devalued": [one.devalued.by_layer.sum(axis=1) for _, one in found],
    }
    ranks = [one.rank_index(built.capital) for built, one in found]
    return xr.Dataset(
        {
            "kind": ("node", np.array(nodes.kinds, dtype=object)),
            **{name: (by_node, np.array(row)) for name, row in rows.items()},
            **{name: (by_layer, np.array(row), USD) for name, row in sums.items()},
            "debt_rank": ("scenario", np.array(ranks), {"units": "1"}),
            **_links(found),
        },
        coords={
            "node": np.array(nodes.names, dtype=object),
            "layer": np.array(LAYERS, dtype=object),
            "scenario": np.array(list(scenarios), dtype=object),
        },
    )


def _links(found: Sequence[tuple[SystemNetwork, Spread]]) -> dict[str, tuple[Any, ...]]:
    """Return all claims of all scenarios, and what is lost of each, ``(link,)``."""
    names = ("scenario", "layer", "debtor", "creditor", "owed", "unpaid", "unpaid_directly")
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for row, (built, one) in enumerate(found):
        for number, name in enumerate(LAYERS):
            owed = built.network.layers[name].tocoo()
            columns["scenario"].append(np.full(owed.nnz, row, np.int32))
            columns["layer"].append(np.full(owed.nnz, number, np.int32))
            columns["debtor"].append(owed.row.astype(np.int32))
            columns["creditor"].append(owed.col.astype(np.int32))
            columns["owed"].append(owed.data)
            for what, losses in (("unpaid", one.loss), ("unpaid_directly", one.direct)):
                part = _lost_part(built.network.layers[name], losses.links[number])
                columns[what].append(owed.data * part[owed.row])
    return {
        f"link_{name}": ("link", np.concatenate(column), USD if column[0].dtype.kind == "f" else {})
        for name, column in columns.items()
    }


def _lost_part(owed: Any, lost: Any) -> Floats:
    """Return the part of all it owes in a layer that each node does not pay, ``(node,)``."""
    whole = np.asarray(owed.sum(axis=1), np.float64)
    unpaid = np.asarray(lost.sum(axis=1), np.float64)
    return np.divide(unpaid, whole, out=np.zeros_like(whole), where=whole > 0.0)
