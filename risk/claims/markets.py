"""Positions in lending markets: their health in every state, and what they leave for the pool.

The market has the first claim on what backs a debt. What the pool may count is the stricter of two
amounts: what remains when the position is liquidated, and what may be withdrawn while it stays
healthy. A state is now, or a scenario; the first state is now.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.claims.tokens import TokenKind, Tokens
from risk.protocols.lending import coverage

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MarketPosition:
    """One account in one market, ``(state,)`` each, money of 0 or more.

    ``worth`` is what the receipts fetch, ``cover`` that times liquidation thresholds,
    ``collateral`` what they count for in the pool before the debt, ``owed`` the debt. ``bonus`` is
    the largest that a liquidator may take of any of them, a fraction of the debt.
    """

    worth: Floats
    cover: Floats
    collateral: Floats
    owed: Floats
    bonus: float

    @property
    def health(self) -> Floats:
        """The health factor, cover over debt, infinite without debt, ``(state,)``."""
        return coverage(self.cover, self.owed)

    @property
    def leverage(self) -> Floats:
        """What is held over what it is worth less the debt, infinite where nothing is left.

        >>> position = MarketPosition(*np.array([[500.0], [400.0], [300.0], [400.0]]), bonus=0.05)
        >>> position.leverage.tolist()
        [5.0]
        """
        equity = self.worth - self.owed
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(equity > 0.0, self.worth / equity, np.inf)

    def after_liquidation(self) -> Floats:
        """Return what the pool counts when the debt is repaid with collateral, ``(state,)``.

        max(0, collateral - owed (1 + bonus)).
        """
        return np.maximum(self.collateral - self.owed * (1.0 + self.bonus), 0.0)

    def withdrawable(self, target_health: float) -> Floats:
        """Return what the pool counts of what may leave while health stays on target, ``(state,)``.

        All receipts leave alike: the part 1 - target / health of each.

        Raises:
            ValueError: a target below 1, at which the market itself would liquidate.
        """
        if not target_health >= 1.0:
            raise ValueError(
                f"target health is {target_health:g}; allowed is 1 up, below it a position may be "
                "liquidated"
            )
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            part = np.where(self.owed > 0.0, 1.0 - target_health * self.owed / self.cover, 1.0)
        return self.collateral * np.maximum(part, 0.0)

    def left(self, target_health: float) -> Floats:
        """Return what the position leaves for the pool: the stricter of the two, ``(state,)``.

        >>> amounts = np.array([[115_000.0], [109_250.0], [97_750.0], [92_000.0]])
        >>> position = MarketPosition(*amounts, bonus=0.0)
        >>> position.left(1.0).tolist(), position.left(1.15).round(2).tolist()
        ([5750.0], [3086.84])
        """
        return np.minimum(self.after_liquidation(), self.withdrawable(target_health))

    def unbacked(self) -> Floats:
        """Return what is owed beyond what backs it, where that is so now, ``(state,)``.

        An honest position may come to this in a scenario, for which its owner does not answer. Who
        has it now has written the debt apart from its receipts, or lost more than he pledged.
        """
        beyond = np.maximum(self.owed - self.worth, 0.0)
        return beyond if beyond[0] > 0.0 else np.zeros(len(beyond))

    def may_be_liquidated(self) -> NDArray[np.bool_]:
        """Return in which states anybody may liquidate it: health below 1, ``(state,)``."""
        return self.cover < self.owed


def market_position(
    counted: Floats,
    present: Floats,
    value: Floats,
    credit: Floats,
    is_debt: NDArray[np.bool_],
    threshold: Floats,
    bonus: Floats,
) -> MarketPosition:
    """Return what the claims of one account in one market come to.

    ``counted`` and ``present`` ``(claim,)`` are the units that count for the pool and that the
    market sees, of a debt what is owed; ``value`` and ``credit`` ``(claim, state)`` are of a unit,
    ``threshold`` and ``bonus`` ``(claim,)`` the terms of its token in the market.

    Raises:
        ValueError: an amount is negative or not finite.
    """
    for name, amounts in (
        ("counted", counted),
        ("present", present),
        ("value", value),
        ("credit", credit),
        ("threshold", threshold),
        ("bonus", bonus),
    ):
        refused = ~((amounts >= 0.0) & (amounts < np.inf))
        if refused.any():
            raise ValueError(
                f"{name} is {amounts[refused].flat[0]}; allowed is a finite number of 0 up"
            )
    held = ~is_debt
    return MarketPosition(
        worth=present[held] @ value[held],
        cover=(present[held] * threshold[held]) @ value[held],
        collateral=counted[held] @ credit[held],
        owed=counted[is_debt] @ credit[is_debt],
        bonus=float(bonus[held & (present > 0.0)].max(initial=0.0)),
    )


def misplaced(
    tokens: Tokens,
    token: NDArray[np.int32],
    market: NDArray[np.int32],
    backs: NDArray[np.bool_],
    protocol: NDArray[np.int32],
    chain: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Return which claims are not in the market that their token belongs to, ``(claim,)``.

    ``token`` and ``market`` are ``(claim,)``; ``backs`` ``(market, token)`` tells which tokens back
    debts in which market, ``protocol`` and ``chain`` ``(market,)`` whose they are. A receipt that
    is written outside of its market would escape the market's first claim on it, and so would one
    whose debt is written in another market. A debt in no market is owed by the whole account and
    escapes nothing.
    """
    inside = market >= 0
    if not len(backs):
        return inside
    row = np.maximum(market, 0)
    same = (tokens.protocol[token] == protocol[row]) & (tokens.chain[token] == chain[row])
    of_debt = inside & ~same
    listed = np.asarray(backs.any(axis=0))
    of_receipt = np.where(inside, ~backs[row, token], listed[token])
    return np.where(tokens.kind[token] == TokenKind.DEBT, of_debt, of_receipt)


def looped_leverage(loan_to_value: float, turns: int | None = None) -> float:
    """Return what is held for one unit of one's own after borrowing and staking again.

    1 + l + l² + ... over so many turns; without a number of turns 1 / (1 - l), where they lead.

    Raises:
        ValueError: a loan to value outside [0, 1).

    >>> looped_leverage(0.8), round(looped_leverage(0.8, 3), 3)
    (5.000000000000001, 2.952)
    """
    if not 0.0 <= loan_to_value < 1.0:
        raise ValueError(f"loan to value is {loan_to_value:g}; allowed is 0 up to below 1")
    if turns is None:
        return 1.0 / (1.0 - loan_to_value)
    return float(sum(loan_to_value**turn for turn in range(turns + 1)))
