"""Accounts: how large, how levered, how they trade, what they expect."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from risk.synthetic.draws import between, log_normal, pick
from risk.synthetic.profile import SIZE_CLASSES, Profile


@dataclass(frozen=True, slots=True)
class Accounts:
    """A run of accounts; every shape is ``(account,)``.

    ``value`` is collateral at market, USD. ``gross`` is the notional wanted over all positions,
    USD. ``use`` is the most of its equity that the account's opening margin takes. ``view`` is
    1 where prices are expected to rise and -1 where to fall.
    """

    value: NDArray[np.float64]
    size_class: NDArray[np.int8]
    gross: NDArray[np.float64]
    use: NDArray[np.float64]
    style: NDArray[np.int8]
    mode: NDArray[np.int8]
    member: NDArray[np.int32]
    view: NDArray[np.int8]
    count: NDArray[np.int64]


def account_value(normal: NDArray[np.float64], profile: Profile) -> NDArray[np.float64]:
    """Return account values from standard normal draws: lognormal body, Pareto tail, one cap.

    Beyond the tail's quantile the value is Pareto, cut at the largest value without an atom
    there.

    >>> account_value(np.array([0.0, 2.3263, 8.0]), Profile()).round(-3).tolist()
    [1000.0, 975000.0, 1000000000.0]
    """
    body = np.exp(profile.value_log_mean + profile.value_log_deviation * normal)
    tail = SIZE_CLASSES[-1]
    start = np.exp(profile.value_log_mean + profile.value_log_deviation * tail)
    beyond = np.minimum(ndtr(-np.maximum(normal, tail)) / profile.tail_share, 1.0)
    cut = (profile.largest_value / start) ** -profile.tail_index
    pareto = start * (cut + (1.0 - cut) * beyond) ** (-1.0 / profile.tail_index)
    return np.where(normal > tail, pareto, body)


def draw_accounts(
    count: int, member: NDArray[np.float64], profile: Profile, rng: np.random.Generator
) -> Accounts:
    """Draw accounts; ``member`` holds shares ``(size class, member)``."""
    size = rng.standard_normal(count)
    size_class = np.searchsorted(SIZE_CLASSES, size).astype(np.int8)
    value = account_value(size, profile)
    idle = rng.random(count) < profile.idle_share
    normal = rng.standard_normal(count)
    leverage = np.where(
        idle,
        log_normal(profile.idle_leverage, normal),
        log_normal(profile.active_leverage, normal),
    )
    distressed = rng.random(count) < profile.distressed_share
    spread = rng.random(count)
    use = np.where(distressed, between(profile.distress, spread), between(profile.calm_use, spread))
    leverage = np.where(distressed, leverage + 3.0 * spread, leverage)
    style = pick(profile.style, size_class, rng.random(count))
    tie = profile.count_correlation
    spread = tie * size + np.sqrt(1.0 - tie * tie) * rng.standard_normal(count)
    drawn = log_normal((profile.count_median, profile.count_deviation), spread)
    drawn = np.clip(drawn * profile.count_scale[style] + 0.5, 1.0, profile.most_positions)
    return Accounts(
        value=value,
        size_class=size_class,
        gross=value * np.minimum(leverage, profile.most_leverage),
        use=use,
        style=style,
        mode=pick(profile.mode, size_class, rng.random(count)),
        member=pick_member(member, size_class, rng.random(count)),
        view=np.where(rng.random(count) < profile.long_share[size_class], 1, -1).astype(np.int8),
        count=drawn.astype(np.int64),
    )


def member_shares(members: int) -> NDArray[np.float64]:
    """Return shares of the accounts by member, ``(size class, member)``.

    Members are heavy-tailed in size (Zipf, exponent 1), and every other one tilts to large
    accounts or to small ones; choice.

    >>> member_shares(4).sum(axis=1).round(9).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    rank = np.arange(members)
    tilt = 0.5 * np.cos(2.4 * rank)
    size = np.arange(len(SIZE_CLASSES) + 1) - 1.5
    share = np.exp(size[:, None] * tilt) / (rank + 2.0)
    share /= share.sum(axis=1, keepdims=True)
    return np.asarray(share)


def pick_member(
    share: NDArray[np.float64], size_class: NDArray[np.int8], uniform: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Return the member of each account by the shares of its size class."""
    edges = np.minimum(np.cumsum(share, axis=1), 1.0)
    edges[:, -1] = 1.0
    flat = (np.arange(len(share))[:, None] + edges).ravel()
    found = np.searchsorted(flat, size_class + uniform, side="right")
    member = found - size_class.astype(np.int64) * share.shape[1]
    return np.asarray(member, dtype=np.int32)
