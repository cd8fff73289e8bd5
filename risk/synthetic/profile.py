"""The assumptions of a synthetic book, in one place, each with its source or the word 'choice'."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SIZE_CLASSES = (-0.5, 0.75, 1.75, 2.3263478740408408)
"""Borders of the size classes, in standard deviations of the logarithm of account value.

The last is the 99 % quantile, where the body of the distribution ends and its tail begins.
"""

GROUPS = ("inverse option", "linear option", "perpetual", "future", "spot")
"""Groups of instruments that an account chooses between before it chooses an instrument."""

SPOT = GROUPS.index("spot")

STYLES = ("directional", "on-chain options", "venue options", "holder", "basis", "mixed")
"""Ways to trade; a style decides how the positions of an account fall into groups."""


def _table(*rows: tuple[float, ...]) -> NDArray[np.float64]:
    table = np.array(rows, dtype=np.float64)
    table.setflags(write=False)
    return table


@dataclass(frozen=True, slots=True)
class Profile:
    """How accounts differ.

    "Measured" is: statistics of 19,337 accounts auto-deleveraged on 2025-10-10. Tables by size
    class have five rows, from the smallest class to the tail.
    """

    value_log_mean: float = 7.09
    """Mean of the logarithm of account value in USD; measured (7.089)."""
    value_log_deviation: float = 2.88
    """Its standard deviation; measured (2.879)."""
    tail_share: float = 0.01
    """Share of accounts in the Pareto tail; the share that the tail index was measured over."""
    tail_index: float = 0.815
    """Tail index of account value; measured (Hill estimate over the top 1 %, 0.815)."""
    largest_value: float = 1e9
    """Account value never exceeds this, USD; choice (the largest measured is 3.2e8)."""

    active_leverage: tuple[float, float] = (1.6, 1.0)
    """Median and log deviation of gross leverage of active accounts; tuned so that the rank
    correlation of value and notional is as measured (0.758)."""
    idle_leverage: tuple[float, float] = (0.08, 2.2)
    """The same of idle accounts, the second of the two populations."""
    idle_share: float = 0.38
    """Share of idle accounts; tuned with the above."""
    most_leverage: float = 20.0
    """Gross leverage never exceeds this; choice, the highest of common venue tiers for large
    coins that retail uses in size."""

    distressed_share: float = 0.06
    """Share of accounts that may be below their opening margin; choice."""
    distress: tuple[float, float] = (1.0, 2.4)
    """Range of the use of equity by distressed accounts, 1 is all of it; choice."""
    calm_use: tuple[float, float] = (0.15, 0.85)
    """Range of the most that other accounts use of their equity; choice."""

    count_median: float = 4.6
    """Median number of positions drawn for an account; choice."""
    count_deviation: float = 0.9
    """Log deviation of that number; choice."""
    count_correlation: float = 0.45
    """Correlation of its logarithm with the logarithm of account value; choice."""
    most_positions: int = 600
    """Positions drawn for one account never exceed this; choice."""

    position_limit: float = 0.02
    """Largest position of one client, as a fraction of the instrument's open interest; choice."""

    mode: NDArray[np.float64] = field(
        default_factory=lambda: _table(
            (0.64, 0.29, 0.07),
            (0.57, 0.30, 0.13),
            (0.44, 0.32, 0.24),
            (0.30, 0.30, 0.40),
            (0.15, 0.25, 0.60),
        )
    )
    """Shares of isolated, cross and portfolio margin by size class; choice."""
    style: NDArray[np.float64] = field(
        default_factory=lambda: _table(
            (0.77, 0.09, 0.00, 0.10, 0.01, 0.03),
            (0.56, 0.15, 0.05, 0.10, 0.03, 0.11),
            (0.32, 0.10, 0.25, 0.08, 0.08, 0.17),
            (0.26, 0.06, 0.30, 0.06, 0.12, 0.20),
            (0.22, 0.03, 0.33, 0.04, 0.16, 0.22),
        )
    )
    """Shares of the styles by size class; choice."""
    long_share: NDArray[np.float64] = field(
        default_factory=lambda: _table((0.72, 0.70, 0.62, 0.52, 0.46))[0]
    )
    """Share of accounts that expect prices to rise, by size class; published surveys of
    perpetual venues say 60 to 75 % of accounts are long, and that shorts are larger."""
    group: NDArray[np.float64] = field(
        default_factory=lambda: _table(
            (0.02, 0.03, 0.82, 0.05, 0.08),
            (0.04, 0.78, 0.14, 0.01, 0.03),
            (0.74, 0.08, 0.12, 0.04, 0.02),
            (0.02, 0.02, 0.20, 0.02, 0.74),
            (0.22, 0.04, 0.36, 0.28, 0.10),
            (0.40, 0.12, 0.30, 0.10, 0.08),
        )
    )
    """Shares of the groups in the positions of a style; choice."""
    follow: NDArray[np.float64] = field(
        default_factory=lambda: _table(
            (0.60, 0.65, 0.90, 0.88, 0.80),
            (0.60, 0.62, 0.85, 0.80, 0.80),
            (0.55, 0.55, 0.70, 0.60, 0.80),
            (0.60, 0.60, 0.85, 0.80, 0.92),
            (0.50, 0.50, 0.85, 0.15, 0.50),
            (0.54, 0.54, 0.72, 0.65, 0.75),
        )
    )
    """Share of positions of a style in a group that gain when the account's view comes true."""
    spot_held: float = 0.5
    """Share of spot positions that are long whatever the account's view; choice."""
    count_scale: NDArray[np.float64] = field(
        default_factory=lambda: _table((1.2, 3.0, 32.0, 1.2, 4.0, 18.0))[0]
    )
    """Multiple of the number of positions, by style; choice."""

    makers_per_account: float = 1.0 / 2000.0
    """Market makers per account, at least three; choice."""
    maker_presence: float = 0.45
    """Share of instruments that a market maker quotes; choice."""
    maker_cover: tuple[float, float] = (1.5, 3.0)
    """Range of a maker's equity, in multiples of its opening margin; choice."""


def maker_count(accounts: int, profile: Profile) -> int:
    """Return how many of ``accounts`` are market makers: at least three where there is room.

    >>> [maker_count(n, Profile()) for n in (1, 2, 5, 10, 100_000)]
    [0, 1, 2, 3, 50]
    """
    return min(accounts // 2, max(3, round(accounts * profile.makers_per_account)))
