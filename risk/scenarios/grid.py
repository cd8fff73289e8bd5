"""The lattice of price and volatility moves, with extreme moves that count in part."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from risk.scenarios.shocks import scenario_dataset
from risk.scenarios.specification import GridSpec


def grid_scenarios(underlyings: Sequence[str], spec: GridSpec) -> xr.Dataset:
    """Return the grid of a methodology, every underlying moved alike.

    ``buckets`` equal price steps each side of zero out to ``price_range``, from the highest down,
    each with volatility up, unchanged and down; then the extreme moves, volatility up, each
    weighted ``price_range / abs(move)`` and so losing about as much as the edge of the range on a
    position whose loss grows in proportion to the move.

    Source: the 9 x 3 lattice and the table of extreme moves that Deribit publishes; the weight is
    the one that Paradex publishes for the same moves.

    Raises:
        ValueError: the price range is zero, or an extreme move lies within it.

    >>> spec = GridSpec(price_range=0.16, buckets=4, volatility_up=0.5, volatility_down=0.25,
    ...                 extreme_moves=(-0.66, 1.0))
    >>> grid = grid_scenarios(["BTC", "ETH"], spec)
    >>> len(grid.scenario), grid.scenario.values[0], grid.scenario.values[-1]
    (29, 'price +16% vol +50%', 'price +100% vol +50% extreme')
    >>> grid.weight.values[-2:].round(4).tolist()
    [0.2424, 0.16]
    """
    if not spec.price_range > 0.0:
        raise ValueError(
            "price_range is 0: a grid needs a price move; give a fraction such as 0.16"
        )
    inside = [move for move in spec.extreme_moves if abs(move) <= spec.price_range]
    if inside:
        raise ValueError(
            f"extreme moves {inside} lie within price_range {spec.price_range:g}; "
            "an extreme move is beyond it"
        )
    steps = [
        spec.price_range * step / spec.buckets
        for step in range(spec.buckets, -spec.buckets - 1, -1)
    ]
    volatilities = (spec.volatility_up, 0.0, -spec.volatility_down)
    cells = [(price, volatility) for price in steps for volatility in volatilities]
    lattice = len(cells)
    cells += [(move, spec.volatility_up) for move in spec.extreme_moves]
    weight = [1.0] * lattice + [spec.price_range / abs(move) for move in spec.extreme_moves]
    names = [f"price {percent(price)} vol {percent(volatility)}" for price, volatility in cells]
    extreme = [""] * lattice + [" extreme"] * len(spec.extreme_moves)
    moves = np.array(cells)
    return scenario_dataset(
        scenario=[name + mark for name, mark in zip(names, extreme, strict=True)],
        label=[
            f"price {percent(price)}, volatility {percent(volatility)}"
            + (f", counted at {part:.1%}" if part < 1.0 else "")
            for (price, volatility), part in zip(cells, weight, strict=True)
        ],
        origin="grid",
        underlying=list(underlyings),
        shocks={
            "price": np.repeat(moves[:, :1], len(underlyings), axis=1),
            "volatility": np.repeat(moves[:, 1:], len(underlyings), axis=1),
        },
        weight=np.array(weight),
    )


def percent(fraction: float) -> str:
    """Return a fraction as a signed percentage without needless digits.

    >>> percent(0.16), percent(-0.125), percent(0.0)
    ('+16%', '-12.5%', '0%')
    """
    return f"{fraction * 100:+.6g}%" if fraction else "0%"
