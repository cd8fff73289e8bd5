"""Why collateral that moves asks for more: base risk with and without its moves."""

from typing import Any

import numpy as np

from risk.explanation import binding_scenarios
from risk.kernels import Positions, account_pnl
from risk.margin import Holdings, stack_layers
from risk.measures import Measure
from risk.wrong_way import wrong_way
from workers.explain.risk import scenario_of
from workers.explain.source import Source


def wrong_way_of(
    source: Source, holdings: Holdings, measures: tuple[Measure, ...]
) -> dict[str, Any]:
    """Return what each measure asks of an account with its collateral still, moving, and alone.

    All positions net. ``change`` is what the credit of the collateral gains in a scenario, gain
    positive, ``pnl`` what positions and collateral make together. Empty where the methodology has
    no such layer.
    """
    spec, moves = source.methodology.wrong_way, source.revaluation.credit_moves
    assets = holdings.assets
    if spec is None or moves is None or assets is None:
        return {}
    offsets = np.array([0, 1], dtype=np.int64)
    ends = np.array([0, len(holdings.instrument)], dtype=np.int64)
    positions = Positions(offsets, ends, holdings.instrument, holdings.quantity)
    still = account_pnl(positions, source.revaluation.cube)[0]
    by_asset = assets.quantity[:, np.newaxis] * moves[assets.asset]
    pnl = still + by_asset.sum(axis=0)
    table, weight = source.book.assets(), source.revaluation.weight
    names = [f"{table['asset'][row]} on {table['chain'][row]}" for row in assets.asset.tolist()]
    values, explained = [], []
    for measure in measures:
        alone = binding_scenarios(still, weight, measure)
        together = binding_scenarios(pnl, weight, measure)
        by_itself = binding_scenarios(by_asset.sum(axis=0), weight, measure)
        values.append(
            [-sum(one.weight * one.pnl for one in found) for found in (alone, together, by_itself)]
        )
        if not measure.binds:
            continue
        explained.append(
            {
                "measure": measure.name,
                "still": values[-1][0],
                "moving": values[-1][1],
                "collateral": values[-1][2],
                "scenarios": [
                    {
                        **scenario_of(source, one.scenario),
                        "weight": one.weight,
                        "pnl": one.pnl,
                        "change": float(by_asset[:, one.scenario].sum()),
                        "change_by_asset": dict(
                            zip(names, by_asset[:, one.scenario].tolist(), strict=True)
                        ),
                    }
                    for one in together
                ],
            }
        )
    stacked = stack_layers(np.array(values).T, measures).sum(axis=1)
    still_asked, moving_asked, collateral_asked = stacked.tolist()
    return {
        "share": spec.share,
        "maintenance_share": spec.maintenance_share,
        "measures": explained,
        "still": still_asked,
        "moving": moving_asked,
        "collateral": collateral_asked,
        "amount": spec.share * float(wrong_way(stacked[1], stacked[0], stacked[2])),
    }
