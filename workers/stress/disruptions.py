"""What scenarios break in a book: what a unit of each asset loses, who waits, which price errs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from risk.systemic.disruptions import CollateralMove, collateral_factors
from risk.systemic.plan import StressPlan, StressScenario
from risk.systemic.stressed import StressedAccounts
from storage.book import Book

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Impairment:
    """What is impaired in a round: ``change`` of a unit of each asset, USD, ``(asset,)``.

    Accounts that hold an instrument of which ``halted`` ``(instrument,)`` is true are not closed.
    """

    change: Floats
    halted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Disruption:
    """What a scenario breaks.

    ``lost`` ``(asset,)`` is what a unit counts less, USD, 0 or below; ``unreachable`` what of it
    does not count either for ``halt_rounds``, in which instruments of ``halted`` wait. The price
    that is shown is ``shown`` ``(coin,)`` times the right one for ``oracle_rounds``.
    ``collateral`` is what the plan says that ``lost`` comes from.
    """

    lost: Floats
    unreachable: Floats
    halted: NDArray[np.bool_]
    halt_rounds: int
    shown: Floats
    oracle_rounds: int
    collateral: tuple[CollateralMove, ...] = ()

    @property
    def rounds(self) -> int:
        """The rounds for which something is other than it will be."""
        return max(self.halt_rounds, self.oracle_rounds)

    def price(self, number: int) -> Floats:
        """Return the price that a round shows over the right one, ``(coin,)``."""
        return self.shown if number < self.oracle_rounds else np.ones_like(self.shown)

    def impairment(self, number: int) -> Impairment:
        """Return what is impaired in a round."""
        halts = number < self.halt_rounds
        return Impairment(
            self.lost - self.unreachable if halts else self.lost,
            self.halted if halts else np.zeros_like(self.halted),
        )

    def impairment_at_the_end(self) -> Impairment:
        """Return what is impaired when everything is there again that comes back."""
        return self.impairment(self.halt_rounds)


def disruptions_of(
    plan: StressPlan, book: Book, value: Floats, coins: tuple[str, ...]
) -> Mapping[str, Disruption]:
    """Return what scenarios of a plan break, by name; most break nothing and are not there.

    ``value`` ``(asset,)`` is what a unit adds to equity, USD.

    Raises:
        ValueError: a scenario names collateral, a coin or a chain that the book does not have.
    """
    assets, instruments = book.assets(), book.instruments()
    return {
        name: broken
        for one in plan.scenarios
        if one.breaks_something
        for broken in [_disruption(one, assets, instruments, value, coins)]
        for name in plan.same_at_depths(one.name)
    }


def _disruption(
    scenario: StressScenario,
    assets: pa.Table,
    instruments: pa.Table,
    value: Floats,
    coins: tuple[str, ...],
) -> Disruption:
    named = [assets[name].to_pylist() for name in ("asset", "chain", "protocol")]
    left = collateral_factors(scenario.collateral, list(zip(*named, strict=True)))
    shown = np.ones(len(coins))
    if scenario.oracle is not None:
        for coin, error in scenario.oracle.error.items():
            if coin not in coins:
                raise ValueError(
                    f"scenario {scenario.name!r} shows a wrong price of {coin!r}, which is not "
                    f"traded; coins are {list(coins)}"
                )
            shown[coins.index(coin)] = 1.0 + error
    chains = () if scenario.halt is None else scenario.halt.chains
    of_instruments = instruments["chain"].to_pylist()
    strange = sorted(set(chains) - {*named[1], *of_instruments})
    if strange:
        raise ValueError(
            f"scenario {scenario.name!r} halts {strange}, on which the book has nothing; its "
            f"chains are {sorted({*named[1], *of_instruments})}"
        )
    standing = np.array([chain in chains for chain in named[1]], dtype=np.bool_)
    return Disruption(
        lost=value * (left - 1.0),
        unreachable=np.where(standing, value * left, 0.0),
        halted=np.array([chain in chains for chain in of_instruments], dtype=np.bool_),
        halt_rounds=0 if scenario.halt is None else scenario.halt.rounds,
        shown=shown,
        oracle_rounds=0 if scenario.oracle is None else scenario.oracle.rounds,
        collateral=scenario.collateral,
    )


def disrupted(
    accounts: StressedAccounts, book: Book, start: int, stop: int, impairment: Impairment
) -> StressedAccounts:
    """Return the accounts ``[start, stop)`` of a book with what is impaired in a round.

    Of accounts that wait, maintenance is below everything, so that nothing is below it.
    """
    held = book.collateral_slice(start, stop)
    owner = np.repeat(np.arange(len(accounts)), np.diff(held.offsets))
    changed = np.bincount(owner, held.quantity * impairment.change[held.asset], len(accounts))
    holder = np.repeat(np.arange(len(accounts)), np.diff(accounts.offsets))
    waits = np.bincount(holder, impairment.halted[accounts.instrument], len(accounts)) > 0.0
    return StressedAccounts(
        offsets=accounts.offsets,
        instrument=accounts.instrument,
        quantity=accounts.quantity,
        equity=accounts.equity,
        maintenance=np.where(waits, -np.inf, accounts.maintenance),
        group=accounts.group,
        impaired=np.where(accounts.group >= 0, changed, 0.0),
    )
