"""Claims of synthetic accounts: what their collateral is in detail, on chains and in protocols."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from risk.synthetic.draws import between, choose, sums
from risk.synthetic.lending import Lending, LoanProfile, draw_loans
from risk.synthetic.plants import Plant, Plants, planted_identity
from risk.synthetic.stream import Purpose, stream


@dataclass(frozen=True, slots=True)
class HeldCollateral:
    """Collateral of a run of accounts, sorted by account: ``(holding,)`` each, ``accounts`` many.

    ``owner`` counts from the first account of the run; ``asset`` is a row of the book's assets.
    """

    accounts: int
    owner: NDArray[np.int64]
    asset: NDArray[np.int32]
    quantity: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClaimMenu:
    """What synthetic claims are drawn from; shapes ``(token,)`` unless said.

    Attributes:
        price: ``(asset of the book,)``, USD per unit.
        share: ``(asset of the book, token)``, how likely a claim stands for a holding of it.
        value: USD of one unit at mark, for debts of one unit owed.
        digits: decimals that a quantity has.
        height: the final block of the token's chain.
        anchored: whether the token lives on a chain, so that a claim on it may be proven.
        wraps: whether the token is a receipt or a share, so that a claim on it may be backed by
            another claim.
        lending: the markets.
        plain: token of claims that are planted.
        away: the same on another chain.
        looped: tokens whose recipes lead round in a circle, ``(looped,)``.
        head: the latest block of the chain of ``plain``.
        skewed: a block of that chain that is too old.
        away_skewed: a block of the chain of ``away`` that is too old.
    """

    price: NDArray[np.float64]
    share: NDArray[np.float64]
    value: NDArray[np.float64]
    digits: NDArray[np.int64]
    height: NDArray[np.int64]
    anchored: NDArray[np.bool_]
    wraps: NDArray[np.bool_]
    lending: Lending
    plain: int
    away: int
    looped: NDArray[np.int64]
    head: int
    skewed: int
    away_skewed: int


@dataclass(frozen=True, slots=True)
class ClaimProfile:
    """How claims differ; every number is a choice."""

    spread: tuple[float, float] = (1.05, 1.6)
    """Scale and tail index of the number of claims beyond the first that a holding is."""
    most: int = 400
    """Claims of one holding never exceed this."""
    size: float = 0.08
    """The scale grows with this power of the account's worth over 1,000 USD."""
    encumbered: float = 0.12
    """Share of claims outside markets that are pledged elsewhere in part or whole."""
    encumbered_whole: float = 0.2
    """Share of these that are pledged in whole."""
    encumbered_part: tuple[float, float] = (0.05, 0.95)
    backed: float = 0.15
    """Share of receipts and shares, where they can be, that another claim is behind, in whole."""
    proven: float = 0.62
    attested: float = 0.25
    """Shares of the standings of claims on chains; the rest is stated."""
    attested_off_chain: float = 0.7
    loans: LoanProfile = field(default_factory=LoanProfile)


@dataclass(frozen=True, slots=True)
class ClaimBlock:
    """Claims of a run of accounts, sorted by owner, market and token; shapes ``(claim,)``.

    ``root`` and ``proof`` are ``(claim, 2)``; ``backing`` counts from the first claim of the run.
    ``planted`` is ``(member,)``: the claim of each member of ``plants``.
    """

    owner: NDArray[np.int64]
    token: NDArray[np.int64]
    quantity: NDArray[np.float64]
    encumbered: NDArray[np.float64]
    market: NDArray[np.int32]
    root: NDArray[np.uint64]
    proof: NDArray[np.uint64]
    height: NDArray[np.int64]
    standing: NDArray[np.int8]
    backing: NDArray[np.int64]
    plants: Plants
    planted: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.owner)


def draw_claims(
    seed: int,
    block: int,
    holdings: HeldCollateral,
    menu: ClaimMenu,
    plants: Plants,
    profile: ClaimProfile,
) -> ClaimBlock:
    """Draw the claims that the holdings of a block are; the same arguments give the same bits.

    At mark an account's claims less its debts are worth what its holdings are, up to the decimals
    of tokens, but for those that are planted in tokens that stand for nothing.
    """
    rng = stream(seed, Purpose.CLAIMS, block)
    drawn = _draw_values(holdings, menu, profile, rng)
    members = _largest(holdings.accounts, drawn, plants)
    token = _planted_tokens(drawn.token, members, menu, plants)
    unit = np.power(10.0, menu.digits[token])
    quantity = np.rint(drawn.value / menu.value[token] * unit) / unit

    size = len(token)
    root, proof = (rng.integers(1, 1 << 63, (size, 2), dtype=np.uint64) for _ in range(2))
    standing = _standings(menu.anchored[token], profile, rng)
    encumbered = _encumbered(quantity, unit, drawn.plain, profile, rng)
    receipt, behind = _backed(drawn, menu.wraps[token], quantity, members, profile, rng)
    backing = np.full(size, -1)
    backing[receipt] = behind
    encumbered[receipt], encumbered[behind] = 0.0, quantity[behind]

    standing[members], encumbered[members] = 0, 0.0
    proof[standing != 0] = 0
    _share_identities(seed, root, proof, members, plants)
    _point_at_each_other(backing, members, plants)
    height = menu.height[token]
    height[members[plants.kind == Plant.NOT_FINAL]] = menu.head
    height[members[plants.kind == Plant.HEIGHT_SKEWED]] = menu.skewed
    height[members[plants.away]] = menu.away_skewed

    order = np.lexsort((token, drawn.market, drawn.owner))
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size)
    backing = np.where(backing >= 0, rank[backing], -1)
    return ClaimBlock(
        drawn.owner[order],
        token[order],
        quantity[order],
        encumbered[order],
        drawn.market[order],
        root[order],
        proof[order],
        height[order],
        standing[order],
        backing[order],
        plants,
        rank[members],
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Claims by value in USD, ``(claim,)``: ``plain`` ones sorted by owner, then loans."""

    plain: int
    owner: NDArray[np.int64]
    token: NDArray[np.int64]
    market: NDArray[np.int32]
    value: NDArray[np.float64]


def _draw_values(
    holdings: HeldCollateral, menu: ClaimMenu, profile: ClaimProfile, rng: np.random.Generator
) -> _Drawn:
    """Draw which tokens the holdings are, and which part of them lies in lending markets."""
    worth = holdings.quantity * menu.price[holdings.asset]
    total = sums(holdings.owner, worth, holdings.accounts)
    lends = (rng.random(holdings.accounts) < profile.loans.share) & (total > 0.0)
    lends &= bool(len(menu.lending.weight))
    part = np.where(lends, between(profile.loans.part, rng.random(holdings.accounts)), 0.0)

    count = _claim_counts(total[holdings.owner], profile, rng)
    holding = np.repeat(np.arange(len(worth)), count)
    owner = holdings.owner[holding]
    token = choose(menu.share, holdings.asset[holding], rng.random(len(holding)))
    weight = rng.standard_exponential(len(holding)) + 0.05
    weight /= sums(holding, weight, len(worth))[holding]
    value = worth[holding] * (1.0 - part[owner]) * weight

    borrower = np.flatnonzero(lends)
    loans = draw_loans(borrower, (part * total)[borrower], menu.lending, profile.loans, rng)
    return _Drawn(
        plain=len(owner),
        owner=np.concatenate([owner, loans.owner]),
        token=np.concatenate([token, loans.token]),
        market=np.concatenate([np.full(len(owner), -1, np.int32), loans.market]),
        value=np.concatenate([value, loans.value]),
    )


def _claim_counts(
    worth: NDArray[np.float64], profile: ClaimProfile, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw how many claims each holding is: one, and more with a Pareto tail."""
    scale, tail = profile.spread
    grown = scale * np.clip((np.maximum(worth, 1.0) / 1e3) ** profile.size, 0.5, 4.0)
    more = grown * ((1.0 - rng.random(len(worth))) ** (-1.0 / tail) - 1.0)
    return np.minimum(1.0 + more, profile.most).astype(np.int64)


def _largest(accounts: int, drawn: _Drawn, plants: Plants) -> NDArray[np.int64]:
    """Return the claim of the largest value, outside markets, of each planted account."""
    starts = np.searchsorted(drawn.owner[: drawn.plain], np.arange(accounts + 1))
    return np.array(
        [
            starts[account] + int(np.argmax(drawn.value[starts[account] : starts[account + 1]]))
            for account in plants.account.tolist()
        ],
        np.int64,
    )


def _planted_tokens(
    token: NDArray[np.int64], members: NDArray[np.int64], menu: ClaimMenu, plants: Plants
) -> NDArray[np.int64]:
    """Return tokens in which nothing but what was planted is wrong with the planted claims."""
    token = token.copy()
    token[members] = np.where(plants.away, menu.away, menu.plain)
    looped = plants.kind == Plant.RECIPE_CYCLE
    token[members[looped]] = menu.looped[plants.group[looped] % len(menu.looped)]
    return token


def _share_identities(
    seed: int,
    root: NDArray[np.uint64],
    proof: NDArray[np.uint64],
    members: NDArray[np.int64],
    plants: Plants,
) -> None:
    """Give the members of a group one root, or one proof."""
    for row, kind, group in zip(members, plants.kind, plants.group, strict=True):
        if kind == Plant.ROOT_TWICE:
            root[row] = planted_identity(seed, int(group))
        elif kind == Plant.PROOF_TWICE:
            proof[row] = planted_identity(seed, int(group))


def _standings(
    anchored: NDArray[np.bool_], profile: ClaimProfile, rng: np.random.Generator
) -> NDArray[np.int8]:
    drawn = rng.random(len(anchored))
    proven, attested = profile.proven, profile.proven + profile.attested
    on_chain = np.where(drawn < proven, 0, np.where(drawn < attested, 1, 2))
    off_chain = np.where(drawn < profile.attested_off_chain, 1, 2)
    return np.where(anchored, on_chain, off_chain).astype(np.int8)


def _encumbered(
    quantity: NDArray[np.float64],
    unit: NDArray[np.float64],
    plain: int,
    profile: ClaimProfile,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw what is pledged elsewhere, of the first ``plain`` claims, in whole base units."""
    size = len(quantity)
    pledged = (rng.random(size) < profile.encumbered) & (np.arange(size) < plain)
    whole = rng.random(size) < profile.encumbered_whole
    part = np.floor(quantity * between(profile.encumbered_part, rng.random(size)) * unit) / unit
    return np.where(pledged, np.where(whole, quantity, part), 0.0)


def _backed(
    drawn: _Drawn,
    wraps: NDArray[np.bool_],
    quantity: NDArray[np.float64],
    members: NDArray[np.int64],
    profile: ClaimProfile,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw claims that are receipts for the next one of their account, which they take up whole."""
    first, after = slice(0, max(drawn.plain - 1, 0)), slice(1, drawn.plain)
    can = (drawn.owner[first] == drawn.owner[after]) & wraps[first] & ~wraps[after]
    can &= quantity[after] > 0.0
    receipt = np.flatnonzero(can & (rng.random(len(can)) < profile.backed))
    receipt = receipt[~(np.isin(receipt, members) | np.isin(receipt + 1, members))]
    return receipt, receipt + 1


def _point_at_each_other(
    backing: NDArray[np.int64], members: NDArray[np.int64], plants: Plants
) -> None:
    """Make a receipt back a claim that is pledged too, and make cycles of receipts."""
    for kind in (Plant.BACKING_TWICE, Plant.BACKING_CYCLE):
        for group in np.unique(plants.group[plants.kind == kind]).tolist():
            chosen = np.flatnonzero(plants.group == group)
            rows = members[chosen[np.argsort(plants.place[chosen])]]
            after = np.roll(rows, -1)
            if kind == Plant.BACKING_TWICE:
                rows, after = rows[:-1], after[:-1]
            backing[rows] = after
