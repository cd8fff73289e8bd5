"""Named hypothetical events: what each shock does to each coin, and to every coin not listed."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from risk.scenarios.shocks import SHOCKS, scenario_dataset
from risk.scenarios.specification import EventSpec

DEFAULT = "default"
"""The name, among the coins of a shock, of every coin that is not listed."""


def event_scenarios(underlyings: Sequence[str], events: Sequence[EventSpec]) -> xr.Dataset:
    """Return one scenario for each event, in the order given.

    A shock that an event does not mention is zero. A shock that it mentions gives a size to every
    coin of ``underlyings``, by name or by ``default``; a coin that it names and the market does
    not have is passed over, so that one file of events serves many markets.

    Raises:
        ValueError: a shock has an unknown name, or leaves a coin without a size.

    >>> flip = EventSpec(name="flip", label="BTC up, the rest down",
    ...                  shocks={"price": {"BTC": 0.1, "default": -0.2}})
    >>> event_scenarios(["BTC", "ETH", "SOL"], [flip]).price.values.tolist()
    [[0.1, -0.2, -0.2]]
    """
    sizes = {name: np.zeros((len(events), len(underlyings))) for name in SHOCKS}
    for row, event in enumerate(events):
        unknown = sorted(set(event.shocks) - set(SHOCKS))
        if unknown:
            raise ValueError(
                f"event {event.name!r}: unknown shocks {unknown}; allowed are {list(SHOCKS)}"
            )
        for name, by_coin in event.shocks.items():
            missing = [coin for coin in underlyings if coin not in by_coin]
            if missing and DEFAULT not in by_coin:
                raise ValueError(
                    f"SCENARIO_INCOMPLETE: event {event.name!r} shocks {name} of {sorted(by_coin)} "
                    f"and says nothing of {missing}; list them or give a {DEFAULT!r}"
                )
            sizes[name][row] = [
                by_coin[coin] if coin in by_coin else by_coin[DEFAULT] for coin in underlyings
            ]
    return scenario_dataset(
        scenario=[event.name for event in events],
        label=[event.label for event in events],
        origin="event",
        underlying=list(underlyings),
        shocks=sizes,
    )
