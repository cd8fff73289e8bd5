"""How losses spread over the network of a scenario: payments that clear, and distress before them.

What nodes lack by themselves and what their defaults cost is borne in the end by those who have
something to lose: conservation that the tests hold every network to.
"""

from dataclasses import dataclass

import numpy as np

from risk.systemic.clearing import Clearing
from risk.systemic.contagion import LayeredLoss, clear_layers, debt_rank_layers, first_losses
from risk.systemic.debt_rank import DebtRank
from risk.systemic.exposures import ContagionRules, SystemNetwork, SystemNodes
from risk.systemic.network import Floats


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the losses of a scenario come to rest.

    ``loss`` is what creditors lose of what they are owed once all have paid what they can,
    ``direct`` what they lose to those who fail though all others pay. ``lacking`` ``(node,)`` is
    what a node would owe over all it has, were everybody else to pay; ``borne`` ``(node,)`` what
    each loses of what it would have been left with. With costs of default the first adds up to
    the second. ``rank`` and ``devalued``: distress by DebtRank, and what claims lose by it.
    """

    clearing: Clearing
    loss: LayeredLoss
    direct: LayeredLoss
    lacking: Floats
    borne: Floats
    rank: DebtRank
    devalued: LayeredLoss

    def rank_index(self, capital: Floats) -> float:
        """Return the part of all ``capital`` ``(node,)`` that distress takes beside the shock."""
        total = float(capital.sum())
        grown = self.rank.relative_loss - self.rank.first_loss
        return float((capital * grown).sum()) / total if total > 0.0 else 0.0


def spread_losses(nodes: SystemNodes, system: SystemNetwork, rules: ContagionRules) -> Spread:
    """Clear a network by the seniority and the costs of the rules, and rank its distress.

    For DebtRank a node without capital passes what it loses on to its creditors pro rata, as if
    what it owes were its capital; one that owes nothing either loses of what it is owed.

    Raises:
        ValueError: an amount is refused, or the claims are not of the layers of the rules.
    """
    terms = (system.network, system.assets, rules.seniority, system.lost)
    external, network = nodes.recoveries(rules)
    clearing, loss = clear_layers(*terms, None, external, network)
    due = np.asarray(system.network.liabilities().sum(axis=0), np.float64)
    net = system.assets + due - clearing.obligation
    left = clearing.value - clearing.default_cost - clearing.payment
    owed = clearing.obligation - system.lost
    buffer = np.where(system.capital > 0.0, system.capital, np.where(owed > 0.0, owed, due))
    buffer = np.where(buffer > 0.0, buffer, 1.0)
    rank, devalued = debt_rank_layers(system.network, buffer, system.shock)
    return Spread(
        clearing=clearing,
        loss=loss,
        direct=first_losses(*terms, None, external, network),
        lacking=np.maximum(-net, 0.0),
        borne=np.maximum(net, 0.0) - left,
        rank=rank,
        devalued=devalued,
    )
