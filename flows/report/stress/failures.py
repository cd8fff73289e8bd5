"""Who fails in the network of a scenario: institutions that do not pay, and apart the vault."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 1.0
"""USD. Whoever pays all but this pays: accounts are summed in units of 2^-10 USD, and what a sum
lacks by that is nobody's default."""

VAULT = "vault"
"""The kind of node that is no institution: the layers of the plan pay what it lost."""


class Failures:
    """Failures in every scenario of a stress run's network, a dataset of the run.

    ``round`` ``(scenario, node)`` is 0 where a node pays all but ``LEAST``, and of the vault; r
    where it fails in round r. ``unpaid`` and ``unpaid_directly`` ``(scenario,)`` are what creditors
    lose to those who fail, in all and to those of round 1, ``vault`` ``(scenario,)`` what the vault
    lost and does not pay itself; USD, positive.
    """

    def __init__(self, network: xr.Dataset) -> None:
        kind = np.array([str(one) for one in network["kind"].values])
        short = network["obligation"].values - network["payment"].values
        institution = kind != VAULT
        self.short = np.where(short > LEAST, short, 0.0)
        fails = institution & (self.short > 0.0)
        self.round = np.where(fails, network["default_round"].values, 0)
        self.vault = self.short[:, ~institution].sum(axis=1)
        scenario, debtor = (network[f"link_{name}"].values for name in ("scenario", "debtor"))
        self.links = fails[scenario, debtor]
        """Claims on those who fail, ``(link,)``."""
        self.unpaid, self.unpaid_directly = (
            np.asarray(
                np.bincount(
                    scenario[self.links],
                    network[f"link_{name}"].values[self.links],
                    minlength=len(short),
                ),
                dtype=np.float64,
            )
            for name in ("unpaid", "unpaid_directly")
        )
