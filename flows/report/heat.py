"""The grid of price and volatility moves, or a scan's, as a map of what the system would lose."""

import numpy as np
from numpy.typing import NDArray

from flows.format import money, percent, short
from flows.report.picture import Choice, Layout, Picture, Trace, hover
from flows.report.view import RunView

FAINTEST = 1e-4
"""Amounts below this fraction of the largest are as pale as it."""


def heat_map(view: RunView) -> Picture | None:
    """Return the map of system loss by price and volatility move, if the run has such moves."""
    title = "Price and volatility"
    rows, turned = _cells(view)
    if not len(rows):
        return None
    price = _moves(view, "price", rows)
    volatility = _moves(view, "volatility", rows)
    prices = np.unique(price)[::-1]
    volatilities = np.unique(volatility)
    at = (np.searchsorted(-prices, -price), np.searchsorted(volatilities, volatility))
    layout: Layout = {
        "xaxis": _axis("Implied volatility moves by", volatilities) | {"side": "top"},
        "yaxis": _axis("Price moves by", prices) | {"range": [len(prices) - 0.5, -0.5]},
        "showlegend": False,
    }
    views = (
        ("System loss", "loss", "--sequential"),
        ("Beyond equity", "uncovered", "--alarming"),
        ("Accounts under water", "under_water", "--sequential"),
    )
    choices = []
    for label, variable, colours in views:
        table = np.full((len(prices), len(volatilities)), np.nan)
        table[at] = view.per_scenario(variable)[rows]
        choices.append(Choice(label, [_map(table, prices, volatilities, label, colours)], layout))
    partial = " A margin counts extreme moves in part; here they are whole."
    return Picture(
        name="heat",
        title=title,
        caption=(
            f"Every price moves by the row and every implied volatility by the column, at once. "
            f"{_own_moves(view, rows)}"
            "The number is the loss of all accounts that lose, or the part beyond their equity, "
            "in US dollars, positive, or the number of accounts under water; stronger is more, on "
            "a logarithmic scale. Both edges hurt because both sides of every contract are in "
            "the book; the column that is stronger tells which way volatility hurts."
            f" Empty cells are not among the scenarios.{turned}"
            f"{partial if (view.scenarios['weight'].values[rows] < 1.0).any() else ''}"
        ),
        choices=choices,
        height=130 + 24 * len(prices),
    )


def _cells(view: RunView) -> tuple[NDArray[np.int64], str]:
    """Return the scenarios that have a place on the map, and what to say of those without."""
    rows = view.rows("grid")
    rows = rows if len(rows) else view.rows("scan")
    labels = view.scenarios["label"].values
    flat = np.array(["smile" not in str(labels[row]) for row in rows], dtype=bool)
    moves = np.column_stack([_moves(view, shock, rows) for shock in ("price", "volatility")])
    first = np.zeros(len(rows), dtype=bool)
    _, at = np.unique(moves[flat], axis=0, return_index=True)
    first[np.flatnonzero(flat)[at]] = True
    turned = int((~flat).sum())
    said = f" {turned} rotations of the smile have no place on the map." if turned else ""
    return rows[first], said


def _own_moves(view: RunView, rows: NDArray[np.int64]) -> str:
    """Return which underlyings move by sizes of their own, and whose the map shows."""
    price = view.scenarios["price"].transpose("scenario", "underlying").values[rows]
    volatility = view.scenarios["volatility"].transpose("scenario", "underlying").values[rows]
    names = [str(name) for name in view.scenarios["underlying"].values]
    other = [
        name
        for at, name in enumerate(names)
        if (price[:, at] != price[:, 0]).any() or (volatility[:, at] != volatility[:, 0]).any()
    ]
    if not other:
        return ""
    own = "its own sizes" if len(other) == 1 else "their own sizes"
    moves = "moves" if len(other) == 1 else "move"
    return (
        f"The moves are those of {names[0]}; {' and '.join(other)} {moves} by {own} in the same "
        "scenarios. "
    )


def _moves(view: RunView, shock: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the move of each scenario on the map, that of the first underlying."""
    moves = view.scenarios[shock].transpose("scenario", "underlying").values[rows, 0]
    rounded: NDArray[np.float64] = np.asarray(moves, dtype=np.float64).round(9)
    return rounded


def _axis(title: str, moves: NDArray[np.float64]) -> Layout:
    words = [f"+{percent(move)}" if move > 0.0 else percent(move) for move in moves]
    return {
        "title": {"text": title},
        "tickmode": "array",
        "tickvals": list(range(len(moves))),
        "ticktext": words,
        "showgrid": False,
        "zeroline": False,
    }


def _map(
    table: NDArray[np.float64],
    prices: NDArray[np.float64],
    volatilities: NDArray[np.float64],
    label: str,
    colours: str,
) -> Trace:
    largest = float(np.nanmax(table))
    least = float(table[table > 0.0].min(initial=largest))
    floor = max(least, largest * FAINTEST, 1e-12)
    counted = label.startswith("Accounts")
    words = [["" if np.isnan(x) else short(x) for x in row] for row in table]
    texts = [
        [
            hover(
                f"Price {percent(price)}, volatility {percent(volatility)}",
                (label, short(value) if counted else money(value)),
            )
            for volatility, value in zip(volatilities, row, strict=True)
        ]
        for price, row in zip(prices, table, strict=True)
    ]
    shades = [
        [None if np.isnan(x) else round(float(np.log10(max(x, floor))), 4) for x in row]
        for row in table
    ]
    return {
        "type": "heatmap",
        "z": shades,
        "x": list(range(len(volatilities))),
        "y": list(range(len(prices))),
        "zmin": float(np.log10(floor)),
        "zmax": float(np.log10(max(largest, floor * 10.0))),
        "text": words,
        "texttemplate": "%{text}",
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
        "hoverongaps": False,
        "colorscale": colours,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
