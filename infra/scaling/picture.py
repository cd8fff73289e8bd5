"""The picture of the model: wall time by accounts, a line for each number of cores.

What was measured are points.
"""

import math
from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 110, 30, 50
LEAST_ACCOUNTS, MOST_ACCOUNTS = 1e5, 1e9
LEAST_SECONDS, MOST_SECONDS = 1e1, 1e5
COLOURS = ("#1f4e79", "#2e8b57", "#b8860b", "#a23b3b")
TICKS = ((10, "10 s"), (60, "1 min"), (600, "10 min"), (3_600, "1 h"), (36_000, "10 h"))

Wall = Callable[[float, int], float]
"""Wall seconds from accounts and cores."""


def picture(wall: Wall, cores: Sequence[int], measured: Sequence[tuple[float, float]]) -> str:
    """Return an SVG; ``measured`` are (accounts, seconds) of runs on the first of ``cores``."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18">Wall time of a run by accounts: the model, and runs that were '
        "measured</text>",
        *_axes(),
    ]
    label = 0.0
    for number, colour in zip(cores, COLOURS, strict=True):
        steps = [10 ** (5 + step / 20) for step in range(81)]
        curve = [(accounts, wall(accounts, number)) for accounts in steps]
        shown = [(x, y) for x, y in curve if LEAST_SECONDS <= y <= MOST_SECONDS]
        line = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in shown)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = shown[-1]
        label = max(_y(y) + 4, label + 15)  # more cores end lower, and names must not overlap
        parts.append(
            f'<text x="{_x(x) + 6:.1f}" y="{label:.1f}" fill="{colour}">{number:,} cores</text>'
        )
    parts += [
        f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="5" fill="{COLOURS[0]}" stroke="white"/>'
        for x, y in measured
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axes() -> list[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for power in range(5, 10):
        x = _x(10.0**power)
        parts += [
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{floor}" stroke="#ddd"/>',
            f'<text x="{x:.1f}" y="{floor + 20}" text-anchor="middle">{10**power:,}</text>',
        ]
    for seconds, name in TICKS:
        y = _y(seconds)
        parts += [
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>',
        ]
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">accounts</text>')
    return parts


def _x(accounts: float) -> float:
    share = math.log(accounts / LEAST_ACCOUNTS) / math.log(MOST_ACCOUNTS / LEAST_ACCOUNTS)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(seconds: float) -> float:
    share = math.log(seconds / LEAST_SECONDS) / math.log(MOST_SECONDS / LEAST_SECONDS)
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
