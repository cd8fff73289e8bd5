"""Positions in lending markets: receipts that back debts, drawn to a health factor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.draws import between, choose, log_normal, pick, sums


@dataclass(frozen=True, slots=True)
class Lending:
    """The lending markets that synthetic accounts may be in.

    ``weight`` is ``(market,)``: how often each is chosen; ``looped`` ``(market,)`` tells the ones
    for staking with borrowed coins. ``pledged``, ``borrowed`` and ``threshold`` are
    ``(market, token)``: how often a token is pledged or borrowed, and what part of its value
    counts for health.
    """

    weight: NDArray[np.float64]
    looped: NDArray[np.bool_]
    pledged: NDArray[np.float64]
    borrowed: NDArray[np.float64]
    threshold: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loans:
    """Receipts and debts of a run of accounts; shapes ``(claim,)``.

    ``value`` is in USD, positive for both.
    """

    owner: NDArray[np.int64]
    market: NDArray[np.int32]
    token: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LoanProfile:
    """How accounts borrow; every number is a choice."""

    share: float = 0.25
    """Share of the accounts that are in a market."""
    looped: float = 0.08
    """Share of these that stake with borrowed coins."""
    part: tuple[float, float] = (0.3, 0.9)
    """Range of the part of its worth that an account has in the market, debts taken off."""
    health: tuple[float, float] = (1.8, 0.45)
    """Median and log deviation of the health factor."""
    looped_health: tuple[float, float] = (1.01, 1.25)
    """Range of the health factor of those who stake with borrowed coins."""
    unhealthy: float = 0.03
    """Share of positions below health 1, which anybody may liquidate."""
    unhealthy_range: tuple[float, float] = (0.96, 1.0)
    most_health: float = 12.0
    second_pledge: float = 0.4
    second_debt: float = 0.25


def draw_loans(
    borrower: NDArray[np.int64],
    net: NDArray[np.float64],
    lending: Lending,
    profile: LoanProfile,
    rng: np.random.Generator,
) -> Loans:
    """Draw what borrowers pledge and owe, so that receipts less debts are worth ``net``.

    With receipts of worth ``C``, debts ``D``, a threshold ``t`` and a health factor ``h = C t / D``
    the rest ``C - D`` is ``C (1 - t / h)``, which gives ``C``.

    Args:
        borrower: accounts, ``(borrower,)``.
        net: USD, ``(borrower,)``.
        lending: the markets.
        profile: how they borrow.
        rng: where the numbers come from.
    """
    size = len(borrower)
    loops = rng.random(size) < profile.looped
    weight = np.stack([lending.weight * ~lending.looped, lending.weight * lending.looped])
    weight = np.where(weight.sum(axis=1, keepdims=True) > 0.0, weight, lending.weight)
    market = pick(weight, loops.astype(np.int8), rng.random(size)).astype(np.int64)
    health = np.minimum(log_normal(profile.health, rng.standard_normal(size)), profile.most_health)
    health = np.where(health < 1.0, 2.0 - health, health)
    spread = rng.random(size)
    health = np.where(lending.looped[market], between(profile.looped_health, spread), health)
    unhealthy = rng.random(size) < profile.unhealthy
    health = np.where(unhealthy, between(profile.unhealthy_range, spread), health)

    place, pledged, part = _split(lending.pledged, market, profile.second_pledge, rng)
    threshold = sums(place, part * lending.threshold[market[place], pledged], size)
    receipts = net / (1.0 - threshold / health)
    debts = receipts - net
    owing, borrowed, owed = _split(lending.borrowed, market, profile.second_debt, rng)
    rows = np.concatenate([place, owing])
    return Loans(
        owner=borrower[rows],
        market=market[rows].astype(np.int32),
        token=np.concatenate([pledged, borrowed]),
        value=np.concatenate([receipts[place] * part, debts[owing] * owed]),
    )


def _split(
    share: NDArray[np.float64],
    market: NDArray[np.int64],
    second: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Draw one or two tokens for each position: its number, the token and the part of the whole."""
    count = 1 + (rng.random(len(market)) < second)
    place = np.repeat(np.arange(len(market)), count)
    token = choose(share, market[place], rng.random(len(place)))
    weight = rng.standard_exponential(len(place)) + 0.2
    return place, token, weight / sums(place, weight, len(market))[place]
