"""With what accounts pay their losses: collateral with protocols, over bridges and on chains.

What an account pays is taken from all that it holds in proportion to its value by the end of a
scenario. Sums are whole units of ``risk.kernels.sums.UNIT``, so that no cut of accounts changes a
bit of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.kernels.compilation import kernel
from risk.kernels.positions import read_only
from risk.kernels.sums import UNIT, require_exact
from risk.systemic.settlement import owed_and_unpaid
from risk.systemic.stressed import Liquidated, StressedAccounts, add_pnl

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldClaims:
    """Claims of some accounts: ``offsets`` ``(account+1,)`` cuts the rest, ``(claim,)``.

    ``held`` are units that are there, ``owed`` of a debt. Claims in one lending ``market`` of an
    account follow each other; -1 is none.
    """

    offsets: NDArray[np.int64]
    token: NDArray[np.int32]
    held: Floats
    owed: Floats
    market: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ClaimWorth:
    """What claims come to: ``value`` ``(token, 1 + scenario)``, first now, USD of a unit.

    ``is_debt`` ``(token,)``, ``part`` ``(token, issuer)`` as of ``TokenIssuers``, ``lender``
    ``(market,)``: the issuer of each market.
    """

    value: Floats
    is_debt: NDArray[np.bool_]
    part: Floats
    lender: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Custody:
    """``paid`` and ``held`` ``(group, issuer, scenario)``, as of ``risk.systemic.exposures``.

    ``by_token`` ``(token, scenario)``: value of what is held after debts in its market.
    ``bad_debt`` ``(issuer, scenario)``: debts over what backs them.
    """

    paid: Floats
    held: Floats
    by_token: Floats
    bad_debt: Floats

    def __add__(self, other: "Custody") -> "Custody":
        return Custody(
            self.paid + other.paid,
            self.held + other.held,
            self.by_token + other.by_token,
            self.bad_debt + other.bad_debt,
        )


@kernel
def _share(
    offsets: Any, instrument: Any, quantity: Any, equity: Any, impaired: Any, group: Any,
    cube: Any, row: Any, remaining: Any, cash: Any, claims: Any, token: Any, units: Any, owed: Any,
    market: Any, value: Any, is_debt: Any, part: Any, lender: Any, pnl: Any, lies: Any, backs: Any,
    debt: Any, paid: Any, held: Any, by_token: Any, bad: Any,
) -> None:  # fmt: skip
    issuers = part.shape[1]
    for account in range(equity.size):
        owner = group[account]
        if owner < 0:
            continue
        k = row[account]
        add_pnl(instrument, quantity, offsets[account], offsets[account + 1], cube, pnl)
        lies[:] = 0.0
        first, end = claims[account], claims[account + 1]
        while first < end:
            last = first + 1
            if market[first] >= 0:
                while last < end and market[last] == market[first]:
                    last += 1
            backs[:] = 0.0
            debt[:] = 0.0
            for c in range(first, last):
                for s in range(debt.size):
                    if is_debt[token[c]]:
                        debt[s] += owed[c] * value[token[c], s]
                    else:
                        backs[s] += units[c] * value[token[c], s]
            for s in range(pnl.size):
                owes = debt[s + 1] if market[first] >= 0 else 0.0
                if owes > backs[s + 1]:
                    # Who owed more than was there already now answers for it himself.
                    if debt[0] <= backs[0]:
                        bad[lender[market[first]], s] += np.rint((owes - backs[s + 1]) / UNIT)
                    continue
                if backs[s + 1] <= 0.0:
                    continue
                left = 1.0 - owes / backs[s + 1]
                for c in range(first, last):
                    t = token[c]
                    if is_debt[t]:
                        continue
                    worth = left * units[c] * value[t, s + 1]
                    by_token[t, s] += np.rint(worth / UNIT)
                    for i in range(issuers):
                        if part[t, i] > 0.0:
                            lies[i, s] += part[t, i] * worth
            first = last
        for s in range(pnl.size):
            traded = pnl[s]
            if k >= 0:
                traded = cash[k, s] + remaining[k, s] * pnl[s]
            owes, unpaid = owed_and_unpaid(traded, equity[account], impaired[account])
            pays = owes - unpaid
            whole = 0.0
            for i in range(issuers):
                whole += lies[i, s]
            due = pays
            for i in range(1, issuers):
                has = np.rint(lies[i, s] / UNIT)
                taken = np.rint(due * lies[i, s] / whole) if whole > 0.0 else 0.0
                taken = min(taken, has, pays)
                paid[owner, i, s] += taken
                held[owner, i, s] += has - taken
                pays -= taken
            paid[owner, 0, s] += pays


def share_out(
    accounts: StressedAccounts,
    state: Liquidated,
    cube: Floats,
    claims: HeldClaims,
    worth: ClaimWorth,
    groups: int,
) -> Custody:
    """Return with what accounts pay, and what they hold beside, by issuer.

    ``accounts``, ``state`` and ``cube`` as of ``settle``. Receipts count after the debt that they
    back; where that is more than all of them, the rest is bad debt of the market's protocol. What
    is not there to pay with is the venue's own custody, the first issuer.

    Raises:
        ValueError: SUM_TOO_LARGE, as ``require_exact``, or scenarios disagree.
    """
    scenarios, issuers = cube.shape[1], worth.part.shape[1]
    if worth.value.shape[1] != scenarios + 1:
        raise ValueError(
            f"value is of {worth.value.shape[1]} states; allowed is now and {scenarios} scenarios"
        )
    paid, held = np.zeros((2, groups, issuers, scenarios))
    by_token, bad = np.zeros((len(worth.value), scenarios)), np.zeros((issuers, scenarios))
    _share(
        read_only(accounts.offsets, np.int64), read_only(accounts.instrument, np.int32),
        read_only(accounts.quantity, np.float64), read_only(accounts.equity, np.float64),
        read_only(accounts.impairment, np.float64), read_only(accounts.group, np.int32),
        read_only(cube, np.float64), state.row,
        state.remaining, state.cash, read_only(claims.offsets, np.int64),
        read_only(claims.token, np.int32), read_only(claims.held, np.float64),
        read_only(claims.owed, np.float64), read_only(claims.market, np.int32),
        read_only(worth.value, np.float64), read_only(worth.is_debt, np.bool_),
        read_only(worth.part, np.float64), read_only(worth.lender, np.int64),
        np.zeros(scenarios), np.zeros((issuers, scenarios)), np.zeros(scenarios + 1),
        np.zeros(scenarios + 1), paid, held, by_token, bad,
    )  # fmt: skip
    for name, sums in (("paid", paid), ("held", held), ("by_token", by_token), ("bad_debt", bad)):
        require_exact(name, UNIT * sums)
    return Custody(UNIT * paid, UNIT * held, UNIT * by_token, UNIT * bad)
