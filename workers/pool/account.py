"""One account of a pool along its formula, in NumPy and in the order in which claims are written.

Amounts are added up claim by claim as the kernel adds them, so the bits are the kernel's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.markets import MarketPosition
from risk.claims.pool import NO_SCENARIO, PoolAccounts, PoolTerms
from risk.claims.tokens import NO_MARKET

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lending:
    """What an account holds and owes in one market; ``rows`` are those of its claims there."""

    market: int
    rows: range
    position: MarketPosition
    value: float
    left: Floats
    unbacked: Floats


@dataclass(frozen=True, slots=True)
class AccountPool:
    """What an account comes to: ``(state,)`` with now first, or ``(scenario,)``; money in USD.

    ``gained`` is the weighted P&L of positions and collateral together, ``gained_alone`` that of
    the positions. ``claim_credit`` is ``(claim, state)``, and what each claim adds.
    """

    value: float
    health: float
    lending: tuple[Lending, ...]
    credit: Floats
    claim_credit: Floats
    pnl: Floats
    gained: Floats
    gained_alone: Floats

    @property
    def requirement(self) -> float:
        """The worst weighted loss of positions and collateral together."""
        return _loss(self.gained)

    @property
    def requirement_alone(self) -> float:
        """The worst weighted loss of the positions."""
        return _loss(self.gained_alone)

    @property
    def binding(self) -> int:
        """The scenario of ``requirement``, -1 for none."""
        return _worst(self.gained)

    @property
    def binding_alone(self) -> int:
        """The scenario of ``requirement_alone``, -1 for none."""
        return _worst(self.gained_alone)

    @property
    def credit_then(self) -> float:
        """Credit in the scenario of ``requirement``, now where there is none."""
        return float(self.credit[self.binding + 1])


def account_pool(accounts: PoolAccounts, terms: PoolTerms) -> AccountPool:
    """Return what one account comes to.

    ``gained = weight x (P&L + credit then - credit now)``; the requirement is the worst of it.

    Raises:
        ValueError: there is not one account.
    """
    if len(accounts) != 1:
        raise ValueError(f"{len(accounts)} accounts were given; allowed is 1")
    pnl = np.zeros(len(terms.weight))
    for instrument, quantity in zip(accounts.instrument, accounts.quantity, strict=True):
        pnl += quantity * terms.cube[instrument]
    credit = np.zeros(terms.credit.shape[1])
    claim_credit = np.zeros((len(accounts.token), len(credit)))
    value, health = 0.0, np.inf
    lending = []
    for rows in _runs(accounts.market):
        if accounts.market[rows[0]] == NO_MARKET:
            token, units = accounts.token[rows[0]], accounts.counted[rows[0]]
            signed = -units if terms.is_debt[token] else units
            claim_credit[rows[0]] = signed * terms.credit[token]
            credit += claim_credit[rows[0]]
            value += signed * terms.value[token, 0]
            continue
        one = _lending(accounts, terms, rows)
        lending.append(one)
        credit += one.left
        credit -= one.unbacked
        value += one.value
        health = min(health, float(one.position.health[0]))
        kept = _part(one.left, one.position.collateral)
        answered = _part(one.unbacked, one.position.owed)
        for row in rows:
            token = accounts.token[row]
            part = -answered if terms.is_debt[token] else kept
            claim_credit[row] = accounts.counted[row] * terms.credit[token] * part
    return AccountPool(
        value=float(value),
        health=health,
        lending=tuple(lending),
        credit=credit,
        claim_credit=claim_credit,
        pnl=pnl,
        gained=terms.weight * (pnl + (credit[1:] - credit[0])),
        gained_alone=terms.weight * pnl,
    )


def _runs(market: NDArray[np.int32]) -> list[range]:
    """Return the claims of each market, which follow each other, and the others one by one."""
    found: list[range] = []
    for row, one in enumerate(market.tolist()):
        if found and one != NO_MARKET and market[found[-1][0]] == one:
            found[-1] = range(found[-1].start, row + 1)
        else:
            found.append(range(row, row + 1))
    return found


def _lending(accounts: PoolAccounts, terms: PoolTerms, rows: range) -> Lending:
    market = int(accounts.market[rows[0]])
    worth, cover, collateral, owed = np.zeros((4, terms.credit.shape[1]))
    bonus, value = 0.0, 0.0
    for row in rows:
        token, units, present = accounts.token[row], accounts.counted[row], accounts.present[row]
        if terms.is_debt[token]:
            owed += units * terms.credit[token]
            value -= units * terms.value[token, 0]
            continue
        worth += present * terms.value[token]
        cover += (present * terms.threshold[market, token]) * terms.value[token]
        collateral += units * terms.credit[token]
        value += units * terms.value[token, 0]
        if units > 0.0:
            bonus = max(bonus, float(terms.bonus[market, token]))
    position = MarketPosition(worth, cover, collateral, owed, bonus)
    left = position.left(terms.target_health)
    return Lending(market, rows, position, max(float(value), 0.0), left, position.unbacked())


def _part(of: Floats, whole: Floats) -> Floats:
    return np.divide(of, whole, out=np.zeros_like(whole), where=whole > 0.0)


def _worst(gained: Floats) -> int:
    return int(np.argmin(gained)) if gained.min(initial=0.0) < 0.0 else NO_SCENARIO


def _loss(gained: Floats) -> float:
    return 0.0 - float(gained.min(initial=0.0))
