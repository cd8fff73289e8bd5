"""The exposure network that a book implies in one scenario: who owes whom once its moves have come.

Nodes are members, the venue with its vault, those who only receive, and the issuers of what
accounts pay with: protocols, bridges and chains. What accounts had lies with the venue or with
issuers; what they lack their member answers for.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from risk.specification import Fraction, Specification
from risk.systemic.contagion import ExposureNetwork, Exposures, exposure_network
from risk.systemic.network import Floats, amounts

LAYERS = ("gains", "margin_calls", "default_fund", "deposits", "bridged_assets", "on_chain")
"""Kinds of claims: on gains, on what members answer for, on the fund, and three on issuers."""

ISSUED = {"protocol": "deposits", "bridge": "bridged_assets", "chain": "on_chain"}
"""The layer in which an issuer of each kind owes."""

KINDS = ("member", "venue", "vault", "accounts", "outside", *ISSUED)
"""Kinds of nodes. Accounts that gain, and those outside who bought what was closed, owe nothing."""

CUSTODY = "custody"
"""The first issuer, which is no node: what lies with the venue itself, or with a custodian."""

BETWEEN = 4
"""Nodes between the members and the issuers: venue, vault, accounts and outside."""

Source = Annotated[str, Field(min_length=1)]


class Recovery(Specification):
    """The parts of its own assets and of what it receives that creditors of a defaulter get."""

    external: Fraction = 1.0
    network: Fraction = 1.0
    source: Source


class Failure(Specification):
    """The part that issuers lose of all they owe, by name, in some scenarios; in all without any.

    An issuer with which nothing of a run lies changes nothing.
    """

    of: tuple[str, ...] = ()
    lost: Annotated[dict[str, Fraction], Field(min_length=1)]
    source: Source


class ContagionRules(Specification):
    """What a plan assumes where a book says nothing.

    ``member_capital`` is what a member has beside its contribution to the default fund, in
    contributions. ``seniority`` has the layers of each class of debt, the most senior first.
    ``recovery`` is by kind of node; without one nothing is lost by a default as such.
    """

    member_capital: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    seniority: tuple[tuple[str, ...], ...] = (
        ("gains", "deposits", "bridged_assets", "on_chain"),
        ("margin_calls",),
        ("default_fund",),
    )
    recovery: dict[str, Recovery] = Field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    source: Source = "choice"

    @model_validator(mode="after")
    def _known(self) -> "ContagionRules":
        listed = [name for one in self.seniority for name in one]
        if sorted(listed) != sorted(LAYERS):
            raise ValueError(
                f"seniority has the layers {listed}; each of {list(LAYERS)} stands in it once"
            )
        unknown = sorted(set(self.recovery) - set(KINDS))
        if unknown:
            raise ValueError(f"recovery is of the kinds {unknown}; allowed are {list(KINDS)}")
        return self


@dataclass(frozen=True, slots=True)
class Issuers:
    """Who may owe holders of claims: names and kinds, ``(issuer,)``; the first is ``CUSTODY``."""

    names: tuple[str, ...] = (CUSTODY,)
    kinds: tuple[str, ...] = (CUSTODY,)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class SystemNodes:
    """The nodes of all scenarios: members, ``BETWEEN`` of the venue's, then issuers."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    members: int

    def __len__(self) -> int:
        return len(self.names)

    def recoveries(self, rules: ContagionRules) -> tuple[Floats, Floats]:
        """Return what defaulters' creditors get of external assets and of the rest, ``(node,)``."""
        kept = [rules.recovery.get(kind) for kind in self.kinds]
        return (
            np.array([1.0 if one is None else one.external for one in kept]),
            np.array([1.0 if one is None else one.network for one in kept]),
        )


def system_nodes(members: tuple[str, ...], issuers: Issuers) -> SystemNodes:
    """Return the nodes of a system.

    >>> system_nodes(("CM-0",), Issuers()).names
    ('member CM-0', 'venue', 'vault', 'accounts', 'outside')
    """
    kinds = (*("member" for _ in members), *KINDS[1 : 1 + BETWEEN], *issuers.kinds[1:])
    own = (*members, *("" for _ in range(BETWEEN)), *issuers.names[1:])
    names = tuple(f"{kind} {name}".strip() for kind, name in zip(kinds, own, strict=True))
    return SystemNodes(names, kinds, len(members))


@dataclass(frozen=True, slots=True)
class Settled:
    """What a scenario comes to by its end; money of 0 or more, but for the vault's.

    ``gained`` and ``uncovered`` ``(member,)``: what accounts gain, and what they lose beyond their
    equity. ``paid`` ``(member, issuer)``: what they pay of their losses out of their equity, by
    where that lies. ``held`` ``(member, issuer)``: what accounts have there beside. ``resting``
    ``(issuer, issuer)``: of what the column issued, what the row owes it. ``lost`` ``(issuer,)``:
    what an issuer cannot get back. ``default_fund`` ``(member,)``: contributions. ``vault_pnl``:
    what the vault gained. ``resources``: the venue's own, its insurance fund among them.
    """

    gained: Floats
    uncovered: Floats
    paid: Floats
    held: Floats
    resting: Floats
    lost: Floats
    default_fund: Floats
    vault_pnl: float
    resources: float


@dataclass(frozen=True, slots=True)
class SystemNetwork:
    """Who owes whom in a scenario, and what each node has and lost by itself, ``(node,)``.

    ``assets`` are those that nobody in the network owes. ``lost`` is taken from them before anybody
    is paid. ``capital`` is what can be lost before creditors lose, ``shock`` what the scenario
    takes of it before anybody fails.
    """

    network: ExposureNetwork
    assets: Floats
    lost: Floats
    capital: Floats
    shock: Floats


def system_network(nodes: SystemNodes, settled: Settled, rules: ContagionRules) -> SystemNetwork:
    """Return the network of one scenario.

    What the accounts of a member lack, its contribution bears first; the rest it owes the venue,
    with what its accounts pay with that lies with issuers. The venue owes members what their
    accounts gain, and what is left of their contributions. Members owe their accounts those gains.
    What the book's gains and losses do not add up to is between the venue and those outside.

    With everybody paying, the venue is left with its own resources.

    Raises:
        ValueError: an amount is negative or not finite, or shapes disagree.
    """
    members, issuers = nodes.members, len(nodes) - nodes.members - BETWEEN
    _require(settled, members, issuers + 1)
    venue, vault, accounts, outside = members + np.arange(BETWEEN)
    member, issuer = np.arange(members), members + BETWEEN + np.arange(issuers)
    own = np.minimum(settled.uncovered, settled.default_fund)
    beyond, left = settled.uncovered - own, settled.default_fund - own
    abroad, held = settled.paid[:, 1:], settled.held[:, 1:].sum(axis=0)
    rest = float(
        settled.paid.sum() + settled.uncovered.sum() - settled.gained.sum() - settled.vault_pnl
    )
    layer = {name: LAYERS.index(name) for name in LAYERS}
    issued = np.array([layer[ISSUED[kind]] for kind in nodes.kinds[members + BETWEEN :]], np.int64)
    resting = settled.resting[1:, 1:]
    exposures = _exposures(
        (member, venue, beyond + abroad.sum(axis=1), layer["margin_calls"]),
        (vault, venue, max(-settled.vault_pnl, 0.0), layer["margin_calls"]),
        (venue, member, settled.gained, layer["gains"]),
        (member, accounts, settled.gained, layer["gains"]),
        (venue, vault, max(settled.vault_pnl, 0.0), layer["gains"]),
        (venue, outside, max(rest, 0.0), layer["gains"]),
        (venue, member, left, layer["default_fund"]),
        (issuer[:, np.newaxis], member, abroad.T, issued[:, np.newaxis]),
        (issuer, accounts, held, issued),
        (issuer[:, np.newaxis], issuer, resting, issued[:, np.newaxis]),
    )
    owed = abroad.sum(axis=0) + held + resting.sum(axis=1)
    assets, capital, lost, shock = (np.zeros(len(nodes)) for _ in range(4))
    assets[member] = rules.member_capital * settled.default_fund
    assets[venue] = (
        settled.resources
        + settled.default_fund.sum()
        + settled.paid[:, 0].sum()
        + max(-rest, 0.0)
    )  # fmt: skip
    assets[issuer] = np.maximum(owed - resting.sum(axis=0), 0.0)
    lost[issuer] = np.minimum(settled.lost[1:], owed)
    capital[member], capital[venue] = assets[member] + left, settled.resources
    shock[member], shock[vault] = beyond, max(-settled.vault_pnl, 0.0)
    shock[issuer] = lost[issuer]
    network = exposure_network(nodes.names, nodes.kinds, LAYERS, exposures)
    return SystemNetwork(network, assets, lost, capital, shock)


def _require(settled: Settled, members: int, issuers: int) -> None:
    for name, rows, shape in (
        ("gained", settled.gained, (members,)),
        ("uncovered", settled.uncovered, (members,)),
        ("default_fund", settled.default_fund, (members,)),
        ("paid", settled.paid, (members, issuers)),
        ("held", settled.held, (members, issuers)),
        ("resting", settled.resting, (issuers, issuers)),
        ("lost", settled.lost, (issuers,)),
    ):
        if rows.shape != shape:
            raise ValueError(f"{name} has the shape {rows.shape}; allowed is {shape}")
        amounts(name, rows.ravel(), rows.size)
    amounts("resources", settled.resources, 1)


def _exposures(*links: tuple[Any, Any, Any, Any]) -> Exposures:
    """Return claims of debtors, creditors, amounts and layers that broadcast; nothing where 0."""
    columns: list[list[NDArray[Any]]] = [[], [], [], []]
    for link in links:
        rows = [np.ravel(one) for one in np.broadcast_arrays(*link)]
        for column, row in zip(columns, rows, strict=True):
            column.append(row[rows[2] > 0.0])
    debtor, creditor, amount, layer = (np.concatenate(column) for column in columns)
    return Exposures(debtor, creditor, amount.astype(np.float64), layer)
