"""Margin systems and walls over the same positions: how each cuts them, and what it requires.

Every requirement is that of the product's own kernels, with each netting set as an account in which
all nets. Base risk alone is what ``isolated``, ``cross`` and ``portfolio`` require, so that they
differ by what may offset and by nothing else; ``layered`` is ``portfolio`` with every further layer
of the rule book. Layers of what collateral consists of are left out: capital is cash here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risk.margin import Holdings, Revaluation, margin_accounts
from risk.measures import Measure
from risk.methodology import Methodology, Netting
from risk.offsets import chosen_rows
from risk.systemic.cascade import StressedAccounts
from risk.systemic.insulation import CapitalSets

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

SYSTEMS = ("isolated", "cross", "portfolio", "layered")


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One way to put capital behind positions.

    ``kind`` is ``system``; ``layer``, layered margin without the layer ``of``; or one of three on
    the walls of a kind ``of``. ``no wall``: layered margin, where all of an account falls with
    it. ``blind wall``: the same margin shared out among what is behind each wall, so that gains and
    margin of one part pay for nothing in another. ``wall``: every part with margin of its own.
    """

    name: str
    kind: str
    of: str


def arrangements(layers: tuple[str, ...], base: int, walls: tuple[str, ...]) -> list[Arrangement]:
    """Return every arrangement of a rule book, in the order of ``arrange``.

    >>> [one.name for one in arrangements(("base", "stress"), 1, ("chain",))][3:]
    ['layered', 'without stress', 'no wall by chain', 'blind wall by chain', 'wall by chain']
    """
    return [
        *(Arrangement(name, "system", name) for name in SYSTEMS),
        *(Arrangement(f"without {name}", "layer", name) for name in layers[base:]),
        *(Arrangement(f"no wall by {wall}", "no wall", wall) for wall in walls),
        *(
            Arrangement(f"{kind} by {wall}", kind, wall)
            for wall in walls
            for kind in ("blind wall", "wall")
        ),
    ]


@dataclass(frozen=True, slots=True)
class MarginRules:
    """What margin of any netting set is computed from.

    ``methodology`` nets all of an account; the first ``base`` of its layers are base risk.
    ``contract`` ``(instrument, side, layer)`` has the first layers of one contract, long and short,
    as many as grow in proportion to size for a position alone.
    """

    methodology: Methodology
    revaluation: Revaluation
    measures: tuple[Measure, ...]
    base: int
    contract: Floats


def bare_rules(methodology: Methodology) -> Methodology:
    """Return a rule book of whole accounts, without what is only reported or is of collateral."""
    models = () if methodology.model_risk is None else methodology.model_risk.models
    measures = tuple(
        one for one in methodology.measures if one.layer is not None or one.name in models
    )
    return methodology.model_copy(
        update={
            "netting": Netting(isolated="account", cross="account", portfolio="account"),
            "measures": measures,
            "collateral": (),
            "wrong_way": None,
        }
    )


def margin_rules(
    methodology: Methodology, revaluation: Revaluation, measures: tuple[Measure, ...]
) -> MarginRules:
    """Return the rules by which netting sets are margined; arguments are those of bare rules."""
    measured = methodology.maintenance_factor is not None and methodology.sensitivities is None
    instruments, layers = len(revaluation.value), len(methodology.layers)
    rules = MarginRules(
        methodology=methodology,
        revaluation=revaluation,
        measures=measures,
        base=1 if measured else len(methodology.base_layers),
        contract=np.zeros((instruments, 2, 0)),
    )
    if not measured:
        return rules
    alone = margin_of_sets(
        rules,
        np.arange(2 * instruments + 1),
        np.repeat(np.arange(instruments, dtype=np.int32), 2),
        np.tile([1.0, -1.0], instruments),
    )
    # Concentration grows faster than size, and so does a floor or a buffer on top of it.
    grows = any(charge.concentration is not None for charge in methodology.charges)
    known = len(methodology.base_layers) if grows else layers
    return replace(rules, contract=alone.reshape(instruments, 2, layers)[..., :known])


def margin_of_sets(
    rules: MarginRules, offsets: Rows, instrument: NDArray[np.int32], quantity: Floats
) -> Floats:
    """Return the layers of netting sets, each as an account in which all nets, ``(set, layer)``."""
    number = len(offsets) - 1
    if number == 0:
        return np.zeros((0, len(rules.methodology.layers)))
    holdings = Holdings(
        offsets=offsets,
        instrument=instrument,
        quantity=quantity,
        margin_mode=np.zeros(number, dtype=np.int8),
        collateral=np.zeros(number),
        held=np.zeros(number, dtype=np.bool_),
    )
    return margin_accounts(holdings, rules.revaluation, rules.methodology, rules.measures).margin


@dataclass(frozen=True, slots=True)
class Separated:
    """Positions of accounts cut into sets.

    ``owner`` ``(set,)`` is the account of each, ``offsets`` ``(set+1,)`` cuts the positions in the
    ``order`` ``(position,)`` of the sets.
    """

    owner: Rows
    offsets: Rows
    order: Rows


def separate(offsets: Rows, instrument: NDArray[np.int32], key: Rows) -> Separated:
    """Cut the positions of each account by a key of their instruments.

    Shapes ``(account+1,), (position,), (instrument,)``; positions of an account with one key are
    one set, in their own order.

    >>> cut = separate(np.array([0, 3, 4]), np.array([0, 1, 2, 1], np.int32), np.array([7, 3, 7]))
    >>> cut.owner.tolist(), cut.offsets.tolist(), cut.order.tolist()
    ([0, 0, 1], [0, 1, 3, 4], [1, 0, 2, 3])
    """
    account = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    code = np.unique(key, return_inverse=True)[1]
    cell = account * (int(code.max(initial=0)) + 1) + code[instrument]
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    first = np.ones(len(cell), dtype=np.bool_)
    np.not_equal(cell[1:], cell[:-1], out=first[1:])
    begin = np.flatnonzero(first)
    return Separated(account[order][begin], np.append(begin, len(cell)), order)


def arrange(
    accounts: StressedAccounts, rules: MarginRules, walls: Mapping[str, Rows]
) -> Iterator[CapitalSets]:
    """Yield the netting sets of every cut of accounts, with the capital of its arrangements.

    ``walls`` has a code of each instrument, ``(instrument,)``, by the kind of wall. Accounts that
    are held back are left out. Equity and maintenance of accounts are not looked at.
    """
    held = _margined(accounts)
    instruments = len(rules.revaluation.value)
    whole = margin_of_sets(rules, held.offsets, held.instrument, held.quantity)
    keys = (np.arange(instruments), rules.revaluation.settlement.astype(np.int64))
    for key in keys:
        cut = separate(held.offsets, held.instrument, key)
        base = _margin_of_cut(held, cut, rules, whole, rules.base)
        yield _sets(held, cut, base[:, np.newaxis])
    total = whole.sum(axis=1)
    cuts = [separate(held.offsets, held.instrument, code) for code in walls.values()]
    behind = [np.bincount(cut.owner, minlength=len(held)) for cut in cuts]
    columns = [whole[:, : rules.base].sum(axis=1), total]
    columns += [
        np.maximum(total - whole[:, layer], 0.0) for layer in range(rules.base, whole.shape[1])
    ]
    parts = [np.ones(len(held), dtype=np.int64)] * len(columns) + behind
    columns += [total] * len(cuts)
    everything = Separated(np.arange(len(held)), held.offsets, np.arange(len(held.instrument)))
    yield _sets(held, everything, np.stack(columns, axis=1), np.stack(parts, axis=1))
    for cut in cuts:
        walled = _margin_of_cut(held, cut, rules, whole, whole.shape[1])
        yield _sets(held, cut, np.stack([_shared(cut.owner, walled, total), walled], axis=1))


def _margined(accounts: StressedAccounts) -> StressedAccounts:
    """Return the accounts that are not held back and have positions."""
    chosen = np.flatnonzero((accounts.group >= 0) & (np.diff(accounts.offsets) > 0))
    offsets, rows = chosen_rows(accounts.offsets, chosen)
    return StressedAccounts(
        offsets,
        accounts.instrument[rows],
        accounts.quantity[rows],
        accounts.equity[chosen],
        accounts.maintenance[chosen],
        accounts.group[chosen],
    )


def _sets(
    held: StressedAccounts, cut: Separated, capital: Floats, parts: Rows | None = None
) -> CapitalSets:
    return CapitalSets(
        offsets=cut.offsets,
        instrument=held.instrument[cut.order],
        quantity=held.quantity[cut.order],
        group=held.group[cut.owner],
        capital=capital,
        parts=np.ones(capital.shape, dtype=np.int64) if parts is None else parts,
    )


def _margin_of_cut(
    held: StressedAccounts, cut: Separated, rules: MarginRules, whole: Floats, layers: int
) -> Floats:
    """Return what the first layers of each set come to, ``(set,)``.

    What is known of whole accounts is kept, and a position alone is its size times one contract.
    """
    required = np.zeros(len(cut.owner))
    known = np.diff(cut.offsets) == np.diff(held.offsets)[cut.owner]
    required[known] = whole[cut.owner[known], :layers].sum(axis=1)
    if layers <= rules.contract.shape[2]:
        contract = rules.contract[..., :layers].sum(axis=2)
        alone = np.flatnonzero(~known & (np.diff(cut.offsets) == 1))
        position = cut.order[cut.offsets[alone]]
        quantity = held.quantity[position]
        side = (quantity < 0.0).astype(np.int64)
        required[alone] = np.abs(quantity) * contract[held.instrument[position], side]
        known[alone] = True
    rest = np.flatnonzero(~known)
    offsets, rows = chosen_rows(cut.offsets, rest)
    position = cut.order[rows]
    margin = margin_of_sets(rules, offsets, held.instrument[position], held.quantity[position])
    required[rest] = margin[:, :layers].sum(axis=1)
    return required


def _shared(owner: Rows, required: Floats, total: Floats) -> Floats:
    """Share what a whole account requires among its sets, in proportion to what each requires.

    Evenly where none of them requires anything.
    """
    asked = np.bincount(owner, weights=required, minlength=len(total))[owner]
    evenly = 1.0 / np.bincount(owner, minlength=len(total))[owner]
    part = np.divide(required, asked, out=evenly, where=asked > 0.0)
    return np.asarray(part * total[owner])
