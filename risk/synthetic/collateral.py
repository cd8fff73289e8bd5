"""Collateral: which assets back an account, and where they lie."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.draws import choose, pick, run_starts, sums


@dataclass(frozen=True, slots=True)
class Vaults:
    """The assets that collateral may be held in.

    ``price`` (USD per unit) and ``haircut`` are ``(asset,)``. ``share`` is ``(home, asset)``: how
    likely an account of a home holds it; ``home`` is ``(home,)``: shares of the accounts.
    """

    price: NDArray[np.float64]
    haircut: NDArray[np.float64]
    share: NDArray[np.float64]
    home: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Backing:
    """Collateral of a run of accounts, sorted by owner, then asset.

    ``owner``, ``asset`` and ``part`` (fraction of the account's collateral value) are
    ``(holding,)``; ``counts`` is ``(account,)``: the fraction of its value left after haircuts.
    """

    owner: NDArray[np.int64]
    asset: NDArray[np.int32]
    part: NDArray[np.float64]
    counts: NDArray[np.float64]

    def quantity(
        self, value: NDArray[np.float64], price: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return units of each holding for account values in USD, to eight decimals."""
        return np.rint(value[self.owner] * self.part / price[self.asset] * 1e8) / 1e8


SECOND, THIRD = 0.45, 0.15
"""Shares of accounts with a second and a third asset; choice."""


def draw_backing(count: int, vaults: Vaults, rng: np.random.Generator) -> Backing:
    """Draw what backs ``count`` accounts: one to three assets, most of one home."""
    more = rng.random(count)
    assets = 1 + (more < SECOND).astype(np.int64) + (more < THIRD)
    owner = np.repeat(np.arange(count), assets)
    size = len(owner)
    home = pick(vaults.home[None, :], np.zeros(count, dtype=np.int8), rng.random(count))
    asset = choose(vaults.share, home[owner], rng.random(size))
    weight = rng.standard_exponential(size) + 0.05

    key = owner * len(vaults.price) + asset
    order = np.argsort(key, kind="stable")
    starts = run_starts(key[order])
    weight = np.add.reduceat(weight[order], starts)
    key = key[order][starts]
    owner, asset = key // len(vaults.price), key % len(vaults.price)
    part = weight / sums(owner, weight, count)[owner]
    counts = sums(owner, part * (1.0 - vaults.haircut[asset]), count)
    return Backing(owner, asset.astype(np.int32), part, counts)
