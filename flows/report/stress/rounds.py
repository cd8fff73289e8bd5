"""Cascades round by round: what is sold, who is closed, where prices go."""

import numpy as np
from numpy.typing import NDArray

from flows.format import exact, money, percent
from flows.report.picture import (
    LAYER_COLOURS,
    Choice,
    Layout,
    Picture,
    Trace,
    hover,
    plain,
    safe,
    unit_of,
)
from flows.report.stress.view import Floats, StressView

SHOWN = 5


def by_round(view: StressView) -> Picture:
    """Return what the worst scenarios sell and whom they close in every round."""
    rows = view.worst[:SHOWN]
    sold, closed = view.values("sold")[rows], view.values("liquidated")[rows]
    closed = np.where(closed < 0.0, np.nan, closed)
    unit = unit_of(sold)
    worded = [
        [
            hover(
                f"{view.names[row]}, round {number}",
                ("Sold", money(float(amount))),
                ("Accounts closed", exact(float(count))),
            )
            for number, (amount, count) in enumerate(
                zip(sold[at], closed[at], strict=True), start=1
            )
            if np.isfinite(amount)
        ]
        for at, row in enumerate(rows)
    ]
    return Picture(
        name="rounds",
        title="Sold and closed, round by round",
        caption=(
            f"The {len(rows)} worst scenarios. The moves of a scenario come in "
            f"{view.rules.cascade.steps} equal {_steps(view)}; after each, whoever is below "
            "maintenance is closed, in part or whole, and once all have come it goes on until "
            "next to nothing is sold. Notional at first prices; an account that is closed in "
            "parts counts in every round."
        ),
        choices=(
            Choice(
                "Sold",
                _lines(view, rows, [unit.of(one) for one in sold], worded),
                _layout(unit.words, _last(sold)),
            ),
            Choice(
                "Accounts closed",
                _lines(view, rows, [plain(one) for one in closed], worded),
                _layout("Accounts", _last(sold)),
            ),
        ),
        height=390,
        wide=True,
    )


def _steps(view: StressView) -> str:
    return "step" if view.rules.cascade.steps == 1 else "steps"


def prices(view: StressView) -> Picture:
    """Return the price of each coin in the worst scenarios, as every round begins."""
    rows = view.worst[:SHOWN]
    price, rounds = view.values("price")[rows], _last(view.values("sold")[rows]) + 1
    return Picture(
        name="prices",
        title="Prices, round by round",
        caption=(
            "Price over first price with which a round begins: what has come of the scenario's own "
            "move, times what all selling before has done to it. The dotted line is where the "
            "scenario alone would end." + _shown(view, rows)
        ),
        choices=[
            Choice(
                coin,
                [
                    *_lines(
                        view,
                        rows,
                        [plain(price[at, :rounds, column]) for at in range(len(rows))],
                        [
                            [
                                hover(
                                    f"{view.names[row]}, round {number}",
                                    (
                                        f"{safe(coin)} against first price",
                                        percent(float(one) - 1.0),
                                    ),
                                )
                                for number, one in enumerate(price[at, :rounds, column], start=1)
                            ]
                            for at, row in enumerate(rows)
                        ],
                    ),
                    *_ends(view, rows, column, rounds),
                ],
                _layout("Price over first price", rounds, from_zero=False),
            )
            for column, coin in enumerate(view.coins)
        ],
        height=390,
        wide=True,
    )


def _shown(view: StressView, rows: NDArray[np.int64]) -> str:
    """Say whose prices are wrong for some rounds, and where accounts could not be closed."""
    said = [
        f" {name}: {view.broken[name]}."
        for name in (view.names[row] for row in rows)
        if name in view.broken
    ]
    if not said:
        return ""
    return (
        " Where an oracle errs, the price is the one that is shown, which liquidations go by."
        + "".join(said)
    )


def _ends(view: StressView, rows: NDArray[np.int64], column: int, rounds: int) -> list[Trace]:
    move = np.asarray(view.moves["price"].values, dtype=np.float64)[rows, column]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [1, rounds],
            "y": plain([1.0 + one, 1.0 + one]),
            "line": {"dash": "dot", "width": 1, "color": LAYER_COLOURS[at]},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        for at, one in enumerate(move)
    ]


def _last(sold: Floats) -> int:
    """Return in how many rounds any of these scenarios was still going on."""
    return int(np.isfinite(sold).any(axis=0).sum())


def _lines(
    view: StressView,
    rows: NDArray[np.int64],
    heights: list[list[float | None]],
    texts: list[list[str]],
) -> list[Trace]:
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": safe(view.names[row]),
            "x": list(range(1, len(texts[at]) + 1)),
            "y": heights[at][: len(texts[at])],
            "line": {"color": LAYER_COLOURS[at]},
            "marker": {"size": 5, "color": LAYER_COLOURS[at]},
            "customdata": texts[at],
            "hovertemplate": "%{customdata}<extra></extra>",
        }
        for at, row in enumerate(rows)
    ]


def _layout(words: str, rounds: int, *, from_zero: bool = True) -> Layout:
    return {
        "xaxis": {"title": {"text": "Round"}, "dtick": 1 if rounds < 20 else 5},
        "yaxis": {"title": {"text": words}, **({"rangemode": "tozero"} if from_zero else {})},
    }
