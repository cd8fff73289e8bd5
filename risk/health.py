"""Health of accounts: what equity is worth against what is required, and what to call for.

Four thresholds cut the line of equity, from above: a warning while the requirement is still met,
the initial requirement, the maintenance requirement, and zero.
"""

from enum import IntEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.specification import NonNegative, Specification

Floats = NDArray[np.float64]


class AccountHealth(IntEnum):
    """Health of an account that is margined, best first; one that is held back has none."""

    HEALTHY = 0
    WARNING = 1
    MARGIN_CALL = 2
    LIQUIDATION = 3
    BANKRUPT = 4


class Cause(IntEnum):
    """Which change alone gives an account its new health."""

    NONE = 0
    EQUITY = 1
    REQUIREMENT = 2
    EITHER = 3
    BOTH = 4


class DueHours(Specification):
    """Hours from a call until it must be met; zero is at once."""

    margin_call: NonNegative = 24.0
    liquidation: NonNegative = 0.0
    bankrupt: NonNegative = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> "DueHours":
        if not self.margin_call >= self.liquidation >= self.bankrupt:
            raise ValueError(
                f"due hours {self.margin_call:g}, {self.liquidation:g}, {self.bankrupt:g} of "
                "margin_call, liquidation, bankrupt; the worse the health, the sooner it is due"
            )
        return self


class HealthSpec(Specification):
    """Thresholds of health, each a multiple of a requirement, and what a call asks for.

    An account is warned below ``warning_ratio`` x initial, called below initial, liquidated
    below maintenance and bankrupt below zero. A call asks for what lifts equity to
    ``target_ratio`` x initial: 1 is the requirement itself, 1.1 leaves a buffer of a tenth.
    """

    warning_ratio: Annotated[float, Field(ge=1.0)] = 1.2
    target_ratio: Annotated[float, Field(ge=1.0)] = 1.0
    due_hours: DueHours = DueHours()


def account_health(
    equity: Floats, initial: Floats, maintenance: Floats, spec: HealthSpec
) -> NDArray[np.int8]:
    """Return the ``AccountHealth`` of accounts, ``(account,) x 3 -> (account,)``.

    Equity is reporting currency of either sign; requirements are not negative. Equity that is
    equal to a threshold meets it. The worst threshold that is missed decides.

    Raises:
        ValueError: a value is not finite, or a requirement is negative.

    >>> equity = np.array([130.0, 110.0, 99.0, 70.0, -1.0])
    >>> health = account_health(equity, np.full(5, 100.0), np.full(5, 80.0), HealthSpec())
    >>> [AccountHealth(one).name for one in health]
    ['HEALTHY', 'WARNING', 'MARGIN_CALL', 'LIQUIDATION', 'BANKRUPT']
    """
    _check(equity, initial, maintenance)
    health = np.zeros(len(equity), dtype=np.int8)
    for missed, worse in (
        (equity < spec.warning_ratio * initial, AccountHealth.WARNING),
        (equity < initial, AccountHealth.MARGIN_CALL),
        (equity < maintenance, AccountHealth.LIQUIDATION),
        (equity < 0.0, AccountHealth.BANKRUPT),
    ):
        health[missed] = worse
    return health


def call_amount(
    equity: Floats, initial: Floats, health: NDArray[np.int8], spec: HealthSpec
) -> Floats:
    """Return what a called account must bring, ``(account,) x 3 -> (account,)``, not negative.

    ``target_ratio`` x initial less equity from a margin call on, and zero above one.

    >>> call_amount(np.array([99.0, 150.0]), np.full(2, 100.0), np.array([2, 0]), HealthSpec())
    array([1., 0.])
    """
    called = health >= AccountHealth.MARGIN_CALL
    return np.where(called, np.maximum(spec.target_ratio * initial - equity, 0.0), 0.0)


def due_hours(health: NDArray[np.int8], spec: HealthSpec) -> Floats:
    """Return hours until the call of each account is due, ``(account,) -> (account,)``.

    Infinite where nothing is called.

    >>> due_hours(np.array([0, 2, 3]), HealthSpec())
    array([inf, 24.,  0.])
    """
    due = spec.due_hours
    by_health = [np.inf, np.inf, due.margin_call, due.liquidation, due.bankrupt]
    return np.array(by_health)[health]


def margin_ratio(equity: Floats, requirement: Floats) -> Floats:
    """Return equity over requirement, ``(account,) x 2 -> (account,)``: 1 just meets it.

    Where nothing is required it is infinite, with the sign of an equity below zero.

    >>> margin_ratio(np.array([150.0, 0.0, -5.0]), np.array([100.0, 0.0, 0.0]))
    array([ 1.5,  inf, -inf])
    """
    unbounded = np.where(equity < 0.0, -np.inf, np.inf)
    return np.divide(equity, requirement, out=unbounded, where=requirement > 0.0)


def change_cause(
    before: tuple[Floats, Floats, Floats], after: tuple[Floats, Floats, Floats], spec: HealthSpec
) -> NDArray[np.int8]:
    """Return the ``Cause`` of each change of health, ``NONE`` where health is what it was.

    ``before`` and ``after`` are equity, initial and maintenance, each ``(account,)``. The test
    is a counterfactual: the old requirements with the new equity, and the other way round.

    >>> cause = change_cause(
    ...     (np.array([200.0]), np.array([100.0]), np.array([80.0])),
    ...     (np.array([90.0]), np.array([110.0]), np.array([85.0])), HealthSpec(),
    ... )
    >>> Cause(cause[0]).name
    'EQUITY'
    """
    old, new = account_health(*before, spec), account_health(*after, spec)
    by_equity = account_health(after[0], *before[1:], spec) == new
    by_requirement = account_health(before[0], *after[1:], spec) == new
    cause = np.select(
        [by_equity & by_requirement, by_equity, by_requirement],
        [Cause.EITHER, Cause.EQUITY, Cause.REQUIREMENT],
        Cause.BOTH,
    )
    return np.where(old == new, Cause.NONE, cause).astype(np.int8)


def _check(equity: Floats, initial: Floats, maintenance: Floats) -> None:
    for name, values, least in (
        ("equity", equity, -np.inf),
        ("initial", initial, 0.0),
        ("maintenance", maintenance, 0.0),
    ):
        bad = np.flatnonzero(~np.isfinite(values) | (values < least))
        if len(bad):
            allowed = "finite" if least < 0.0 else "finite and 0 or more"
            raise ValueError(
                f"{name} is {values[bad[0]]} at row {bad[0]} ({len(bad)} such rows); allowed is "
                f"{allowed}; leave out accounts that are held back"
            )
