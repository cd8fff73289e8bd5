"""The kernel: standard margin of a run of accounts, position by position, expiry by expiry.

Everything that the kernel calls or takes for a constant stands in this file, because numba
judges whether its kept machine code is still good by the file of the kernel alone.
"""

from enum import IntEnum
from typing import Any

from risk.kernels.compilation import compiled, kernel


class Form(IntEnum):
    """How positions in an instrument are margined; weighted ones are not the kernel's."""

    NONE = -1
    OPTION = 0
    FUTURE = 1
    SPOT = 2
    WEIGHTED = 3


class Column(IntEnum):
    """Numbers of one contract, in the reporting currency unless they say otherwise.

    ``INITIAL`` and ``MAINTENANCE`` are the margin of one short option or one coin held; of a
    future they are what its share of the notional grows by, per contract. ``CONTRACT`` is the
    contract size, negative for a put.
    """

    INITIAL = 0
    MAINTENANCE = 1
    NOTIONAL = 2
    VALUE = 3
    STRIKE = 4
    CONTRACT = 5
    UNPAIRED_INITIAL = 6
    UNPAIRED_MAINTENANCE = 7
    ORACLE_LONG = 8
    ORACLE_SHORT = 9
    DEPEG_LONG = 10
    DEPEG_SHORT = 11


COLUMNS = len(Column)

# Plain integers, which numba takes for constants.
_NONE, _OPTION, _FUTURE, _SPOT = (int(form) for form in list(Form)[:4])
_INITIAL, _MAINTENANCE, _NOTIONAL, _VALUE = (int(c) for c in list(Column)[:4])
_STRIKE, _CONTRACT, _UNPAIRED_INITIAL, _UNPAIRED_MAINTENANCE = (int(c) for c in list(Column)[4:8])
_ORACLE_LONG, _ORACLE_SHORT, _DEPEG_LONG, _DEPEG_SHORT = (int(c) for c in list(Column)[8:])
_FLOOR, _INITIAL_SHARE, _MAINTENANCE_SHARE, _DEDUCTION = range(4)
OPTIONS, FUTURES, UNPAIRED, HAIRCUT, ORACLE, DEPEG = range(6)


@compiled
def _future(size: Any, unit: Any, row: Any, first: Any, stop: Any, brackets: Any) -> Any:
    """Return initial and maintenance margin of a future, by the size of the position."""
    notional = size * unit[row, _NOTIONAL]
    at = first
    while at + 1 < stop and brackets[at + 1, _FLOOR] <= notional:
        at += 1
    initial = notional * (brackets[at, _INITIAL_SHARE] + size * unit[row, _INITIAL])
    share = brackets[at, _MAINTENANCE_SHARE] + size * unit[row, _MAINTENANCE]
    maintenance = max(notional * share - brackets[at, _DEDUCTION], 0.0)
    return initial, maintenance


@compiled
def _maximum_loss(
    instrument: Any, quantity: Any, unit: Any, order: Any, first: Any, stop: Any
) -> Any:
    """Return the largest loss of an expiry's options at settlement, over zero and every strike."""
    worst = 0.0
    for k in range(first - 1, stop):
        price = 0.0 if k < first else unit[instrument[order[k]], _STRIKE]
        payoff = 0.0
        for j in range(first, stop):
            row = instrument[order[j]]
            gain = price - unit[row, _STRIKE]
            if unit[row, _CONTRACT] < 0.0:
                gain = -gain
            if gain > 0.0:
                payoff += quantity[order[j]] * abs(unit[row, _CONTRACT]) * gain
        worst = min(worst, payoff)
    return -worst


@compiled
def _by_group(instrument: Any, quantity: Any, group: Any, first: Any, stop: Any, order: Any) -> Any:
    """Put the positions that have a group in order of it, and return how many they are.

    Insertion, because positions in canonical order are in order of group already.
    """
    count = 0
    for p in range(first, stop):
        code = group[instrument[p]]
        # A strike of which nothing is held is no settlement price to look at.
        if code < 0 or quantity[p] == 0.0:
            continue
        slot = count
        while slot > 0 and group[instrument[order[slot - 1]]] > code:
            order[slot] = order[slot - 1]
            slot -= 1
        order[slot] = p
        count += 1
    return count


@compiled
def _expiry(
    instrument: Any,
    quantity: Any,
    unit: Any,
    order: Any,
    first: Any,
    stop: Any,
    layers: Any,
    account: Any,
) -> Any:
    """Add an expiry to the layers, the better of alone and together; return its maintenance."""
    alone_initial, alone_maintenance = 0.0, 0.0
    naked_initial, naked_maintenance = 0.0, 0.0
    for j in range(first, stop):
        held = quantity[order[j]]
        row = instrument[order[j]]
        if held < 0.0:
            alone_initial -= held * unit[row, _INITIAL]
            alone_maintenance -= held * unit[row, _MAINTENANCE]
        naked_initial -= held * unit[row, _UNPAIRED_INITIAL]
        naked_maintenance -= held * unit[row, _UNPAIRED_MAINTENANCE]
    if alone_initial == 0.0 and alone_maintenance == 0.0:
        return 0.0
    loss = _maximum_loss(instrument, quantity, unit, order, first, stop)
    naked_initial, naked_maintenance = max(naked_initial, 0.0), max(naked_maintenance, 0.0)
    if loss + naked_initial < alone_initial:
        layers[account, OPTIONS] += loss
        layers[account, UNPAIRED] += naked_initial
    else:
        layers[account, OPTIONS] += alone_initial
    return min(loss + naked_maintenance, alone_maintenance)


@compiled
def _charges(held: Any, unit: Any, row: Any, layers: Any, account: Any) -> None:
    """Add what doubtful prices and a lost peg ask of a position to the layers."""
    if held > 0.0:
        layers[account, ORACLE] += held * unit[row, _ORACLE_LONG]
        layers[account, DEPEG] += held * unit[row, _DEPEG_LONG]
    else:
        layers[account, ORACLE] -= held * unit[row, _ORACLE_SHORT]
        layers[account, DEPEG] -= held * unit[row, _DEPEG_SHORT]


@kernel
def margin_run(
    start: Any, offsets: Any, instrument: Any, quantity: Any,
    form: Any, group: Any, unit: Any, bracket: Any, brackets: Any, choice: Any, order: Any,
    layers: Any, maintenance: Any, option_value: Any, held_back: Any, by_choice: Any,
) -> None:  # fmt: skip
    """Fill the numbers of the accounts whose rows the offsets bound, in rows from ``start`` on."""
    for n in range(offsets.size - 1):
        account = start + n
        for p in range(offsets[n], offsets[n + 1]):
            row, held = instrument[p], quantity[p]
            if form[row] == _NONE:
                held_back[account] = True
                break
            by_choice[account] |= choice[row] and held != 0.0
            if form[row] == _OPTION:
                option_value[account] += held * unit[row, _VALUE]
                if held < 0.0 and group[row] < 0:
                    layers[account, OPTIONS] -= held * unit[row, _INITIAL]
                    maintenance[account] -= held * unit[row, _MAINTENANCE]
            elif form[row] == _FUTURE:
                initial, keep = _future(
                    abs(held), unit, row, bracket[row, 0], bracket[row, 1], brackets
                )  # fmt: skip
                layers[account, FUTURES] += initial
                maintenance[account] += keep
            elif form[row] == _SPOT:
                layers[account, HAIRCUT] += abs(held) * unit[row, _INITIAL]
                maintenance[account] += abs(held) * unit[row, _MAINTENANCE]
            _charges(held, unit, row, layers, account)
        if held_back[account]:
            layers[account, :] = 0.0
            maintenance[account], option_value[account] = 0.0, 0.0
            by_choice[account] = False
            continue
        count = _by_group(instrument, quantity, group, offsets[n], offsets[n + 1], order)
        first = 0
        for j in range(1, count + 1):
            if j == count or group[instrument[order[j]]] != group[instrument[order[first]]]:
                maintenance[account] += _expiry(
                    instrument, quantity, unit, order, first, j, layers, account
                )  # fmt: skip
                first = j
