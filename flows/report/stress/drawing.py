"""One cascade as a small drawing for a document: prices above, what was sold below; SVG."""

import html
import math
from collections.abc import Sequence

import numpy as np

from flows.format import exact, money, percent, short
from flows.report.stress.view import StressView

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT = 70, 740
PRICES, SALES = (70, 215), (292, 380)
"""From top to bottom, in pixels."""

COLOURS = ("#2a5f8f", "#c98a2b", "#6f6aa8", "#3f8f83", "#9c5577", "#7d8590")


class UnknownScenario(ValueError):
    """A stress run has no scenario of that name."""


def draw(view: StressView, scenario: str) -> str:
    """Return the cascade of a scenario as SVG.

    Raises:
        UnknownScenario: the run has none of that name.
    """
    if scenario not in view.names:
        raise UnknownScenario(
            f"stress run {view.run_id} has no scenario {scenario!r}; it has {view.names}"
        )
    row = view.names.index(scenario)
    sold = view.values("sold")[row]
    rounds = int(np.isfinite(sold).sum())
    across = [LEFT + (RIGHT - LEFT) * (number + 0.5) / (rounds + 1) for number in range(rounds + 1)]
    said = (
        f"{exact(float(view.values('touched')[row]))} accounts closed, "
        f"{money(float(view.total('sold')[row]))} sold; lost {money(float(view.lost[row]))}, "
        f"with nobody closed {money(float(view.values('lost_alone')[row]))}"
    )
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12" fill="#1d2733">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            _text(LEFT, 22, scenario, size=16),
            _text(LEFT, 40, said, colour="#5d6875"),
            *_prices(view, row, across),
            *_sales(view, row, across[:rounds]),
            "</svg>\n",
        )
    )


def _prices(view: StressView, row: int, across: Sequence[float]) -> list[str]:
    price = view.values("price")[row, : len(across)]
    own = 1.0 + np.asarray(view.moves["price"].values, dtype=np.float64)[row]
    low, high = min(price.min(), own.min(), 1.0), max(price.max(), own.max(), 1.0)
    top, bottom = PRICES

    def at(value: float) -> float:
        return bottom - (bottom - top) * float((value - low) / max(high - low, 1e-9))

    parts = [_text(LEFT, top - 8, "Price over first price as a round begins", colour="#5d6875")]
    for value in (low, (low + high) / 2.0, high):
        parts += [_line(at(value)), _text(LEFT - 8, at(value) + 4, f"{value:.2f}", anchor="end")]
    for column, coin in enumerate(view.coins):
        colour = COLOURS[column % len(COLOURS)]
        points = " ".join(
            f"{x:.1f},{at(float(one)):.1f}" for x, one in zip(across, price[:, column], strict=True)
        )
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<line x1="{LEFT}" x2="{RIGHT}" y1="{at(own[column]):.1f}" y2="{at(own[column]):.1f}" '
            f'stroke="{colour}" stroke-dasharray="2 4"/>',
            _text(
                LEFT + 200 * column,
                bottom + 24,
                f"{coin} {percent(float(price[-1, column]) - 1.0)}, "
                f"{percent(float(own[column]) - 1.0)} by itself",
                colour=colour,
            ),
        ]
    return parts


def _sales(view: StressView, row: int, across: Sequence[float]) -> list[str]:
    sold = view.values("sold")[row, : len(across)]
    closed = view.values("liquidated")[row, : len(across)]
    top, bottom = SALES
    high = max(float(sold.max(initial=0.0)), 1.0)
    wide = 0.7 * (RIGHT - LEFT) / (len(across) + 1)
    words = "Sold in each round, USD, and accounts closed"
    parts = [_text(LEFT, top - 22, words, colour="#5d6875"), _line(bottom)]
    # Words beside every bar only where there is room for them.
    every = math.ceil(len(across) / 12)
    for number, (x, amount, count) in enumerate(zip(across, sold, closed, strict=True)):
        tall = (bottom - top) * float(amount) / high
        parts.append(
            f'<rect x="{x - wide / 2:.1f}" y="{bottom - tall:.1f}" width="{wide:.1f}" '
            f'height="{tall:.1f}" fill="#a9bccd"/>'
        )
        if number % every == 0:
            parts += [
                _text(x, bottom - tall - 4, short(float(amount)), anchor="middle", size=10),
                _text(x, bottom + 14, str(number + 1), anchor="middle"),
                _text(x, bottom + 28, exact(float(count)), "#5d6875", "middle", 10),
            ]
    return [*parts, _text(LEFT - 8, bottom + 14, "Round", anchor="end"),
            _text(LEFT - 8, bottom + 28, "Closed", "#5d6875", "end", 10)]  # fmt: skip


def _text(
    x: float, y: float, words: str, colour: str = "#1d2733", anchor: str = "start", size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" '
        f'font-size="{size}">{html.escape(words)}</text>'
    )


def _line(y: float) -> str:
    return f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e9e7e1"/>'
