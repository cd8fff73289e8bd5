"""Look-through: what a token comes to in base assets, and recipes that lead round in a circle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from risk.claims.tokens import BASE_KINDS, Tokens

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class LookThrough:
    """Tokens in base assets.

    ``order``: tokens such that each comes after all that it stands for; those that rest on a cycle
    are left out, and marked in ``on_cycle`` ``(token,)``. ``cycles``: each circle of recipes once,
    from its smallest row on in the direction of the recipes. ``offsets`` ``(token+1,)`` cuts
    ``asset`` and ``units`` ``(part,)``: base assets of one unit of a token, in ascending order.
    """

    order: Rows
    on_cycle: NDArray[np.bool_]
    cycles: tuple[tuple[int, ...], ...]
    offsets: NDArray[np.int64]
    asset: Rows
    units: Floats


def look_through(tokens: Tokens) -> LookThrough:
    """Return what one unit of each token comes to in base assets.

    A cycle is never followed: its tokens, and all that stand for one of them, come to nothing.

    >>> tokens = Tokens(  # a coin, a share of 1.5 coins, a share that stands for itself
    ...     kind=np.array([1, 3, 3], np.int8), asset=np.array([0, -1, -1], np.int32),
    ...     chain=np.zeros(3, np.int32), protocol=np.zeros(3, np.int32),
    ...     bridge=np.zeros(3, np.int32), recipe_offsets=np.array([0, 0, 1, 2]),
    ...     recipe_token=np.array([0, 2], np.int32), recipe_units=np.array([1.5, 1.0]),
    ... )
    >>> found = look_through(tokens)
    >>> found.units.tolist(), found.offsets.tolist(), found.cycles
    ([1.0, 1.5], [0, 1, 2, 2], ((2,),))
    """
    cycles = recipe_cycles(tokens)
    order, on_cycle = _order(tokens)
    of_token: list[dict[int, float]] = [{} for _ in range(len(tokens))]
    for token in order.tolist():
        held = of_token[token]
        if tokens.kind[token] in BASE_KINDS:
            held[int(tokens.asset[token])] = 1.0
        for of, units in zip(*tokens.parts(token), strict=True):
            for asset, amount in of_token[of].items():
                held[asset] = held.get(asset, 0.0) + float(units) * amount
    rows = [sorted(held.items()) for held in of_token]
    flat = [pair for row in rows for pair in row]
    return LookThrough(
        order=order,
        on_cycle=on_cycle,
        cycles=cycles,
        offsets=np.cumsum([0, *map(len, rows)]).astype(np.int64),
        asset=np.array([asset for asset, _ in flat], dtype=np.int32),
        units=np.array([units for _, units in flat], dtype=np.float64),
    )


def base_units(found: LookThrough, quantity: Floats, assets: int) -> Floats:
    """Return what quantities of tokens come to in base assets, ``(token,) -> (asset,)``."""
    owner = np.repeat(np.arange(len(quantity)), np.diff(found.offsets))
    weights = quantity[owner] * found.units
    return np.bincount(found.asset, weights=weights, minlength=assets).astype(np.float64)


def contained_units(tokens: Tokens, found: LookThrough, quantity: Floats) -> Floats:
    """Return how much of each token there is, held or inside of what is held, ``(token,)`` twice.

    >>> tokens = Tokens(  # a coin, a receipt for it, a share of two receipts
    ...     kind=np.array([1, 2, 3], np.int8), asset=np.array([0, -1, -1], np.int32),
    ...     chain=np.zeros(3, np.int32), protocol=np.zeros(3, np.int32),
    ...     bridge=np.zeros(3, np.int32), recipe_offsets=np.array([0, 0, 1, 2]),
    ...     recipe_token=np.array([0, 1], np.int32), recipe_units=np.array([1.0, 2.0]),
    ... )
    >>> contained_units(tokens, look_through(tokens), np.array([1.0, 0.0, 5.0])).tolist()
    [11.0, 10.0, 5.0]
    """
    contained = np.where(found.on_cycle, 0.0, quantity)
    for token in found.order[::-1].tolist():
        for of, units in zip(*tokens.parts(token), strict=True):
            contained[of] += units * contained[token]
    return np.asarray(contained)


def once(tokens: Tokens, found: LookThrough, hit: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the tokens that are hit have none inside that is hit as well, ``(token,)``.

    So what befalls a name, a chain or a protocol befalls the worth of a token once, however
    often it is wrapped there.
    """
    inside = np.zeros(len(tokens), dtype=np.bool_)
    for token in found.order.tolist():
        for of in tokens.parts(token)[0]:
            inside[token] |= hit[of] | inside[of]
    return np.asarray(hit & ~inside)


def recipe_cycles(tokens: Tokens) -> tuple[tuple[int, ...], ...]:
    """Return circles of recipes such that every token that lies on one is named in one of them.

    Each is a shortest one through the smallest row that no circle before it names.
    """
    if not _order(tokens)[1].any():
        return ()
    owner = np.repeat(np.arange(len(tokens)), np.diff(tokens.recipe_offsets))
    edges = np.ones(len(owner)), (owner, tokens.recipe_token)
    graph = csr_array(edges, shape=(len(tokens), len(tokens)))
    # Two tokens share a component if each leads to the other; what only leads into a circle, in
    # however long a line, is a component of its own and need not be searched.
    _, component = connected_components(graph, directed=True, connection="strong")
    circular = np.bincount(component)[component] > 1
    circular[owner[owner == tokens.recipe_token]] = True
    named: set[int] = set()
    circles = []
    for token in np.flatnonzero(circular).tolist():
        if token not in named:
            circle = _circle(tokens, component, token)
            named.update(circle)
            first = circle.index(min(circle))
            circles.append((*circle[first:], *circle[:first]))
    return tuple(sorted(circles))


def _circle(tokens: Tokens, component: Rows, start: int) -> tuple[int, ...]:
    """Return a shortest way down the recipes of a token on a circle back to it."""
    before: dict[int, int] = {}
    reached = [start]
    for token in reached:  # grows while it is read
        for of in tokens.parts(token)[0].tolist():
            if of == start:
                path = [token]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return tuple(path[::-1])
            if of not in before and component[of] == component[start]:
                before[of] = token
                reached.append(of)
    raise AssertionError(f"token {start} lies on no circle")


def _order(tokens: Tokens) -> tuple[Rows, NDArray[np.bool_]]:
    """Return tokens after all that they stand for, and those that come to no end."""
    left = np.diff(tokens.recipe_offsets)
    owner = np.repeat(np.arange(len(tokens)), left)
    users: list[list[int]] = [[] for _ in range(len(tokens))]
    for token, of in zip(owner.tolist(), tokens.recipe_token.tolist(), strict=True):
        users[of].append(token)
    order = np.flatnonzero(left == 0).tolist()
    for token in order:  # grows while it is read
        for user in users[token]:
            left[user] -= 1
            if left[user] == 0:
                order.append(user)
    return np.array(order, dtype=np.int32), left > 0
