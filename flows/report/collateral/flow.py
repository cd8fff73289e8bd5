"""The flow of credit: from the chain it lies on, over how it is held, to what it backs."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flows.format import clipped, money, percent
from flows.report.collateral.view import NOWHERE, PoolView
from flows.report.picture import Choice, Picture, Sentence, hover, plain, safe
from risk.claims.rules import NONE

SHOWN = 11
"""Names in a column; the rest are one."""

HEIGHT, GAP = 660, 18
MARGIN = {"l": 8, "r": 180, "t": 34, "b": 10}
"""Pixels of the picture, between its nodes and around them."""

COLUMNS = ("Lies on", "Held", "Asset", "Backs")
COLOURS = ("--layer-1", "--layer-3", "--layer-4", "--layer-2")
FREE = "free"
FREE_WORDS = "no position"
OTHERS = "others"
TITLE = "From where collateral lies to what it backs"

Node = tuple[int, str]
"""The column of a node, and its name."""

Path = tuple[str, str, str, str]
"""A chain, a way of holding, an asset and a use."""


def flow(view: PoolView) -> Picture | Sentence:
    """Return the flow of credit from chains to venues."""
    paths = _paths(view)
    whole = sum(paths.values())
    owed = -float(np.minimum(view.amounts("holding_use"), 0.0).sum())
    if whole <= 0.0:
        return Sentence(TITLE, "Nothing in this pool counts, so nothing flows.", wide=True)
    needed = {path: amount for path, amount in paths.items() if path[3] != FREE_WORDS}
    choices = [_choice("All credit", paths)]
    if needed:
        choices.append(_choice("What positions need", needed))
    part = percent(sum(needed.values()) / whole)
    return Picture(
        name="flow",
        title=TITLE,
        caption=(
            "Credit now, US dollars, from left to right: the chain that it lies on, the protocol "
            "or bridge that holds it or else a wallet or a custodian, its base asset, and the "
            f"venue whose positions need it. Positions need {part} of all credit, the darker "
            "bands; the rest backs none and is free. An account's requirement is shared among "
            "venues by the size of its positions there, and among its claims by their credit. "
            "Every column has the same sum"
            + (f", the whole credit and {money(owed)} of debts on top." if owed else ".")
        ),
        choices=choices,
        height=HEIGHT,
        wide=True,
        least_width=860,
    )


def _paths(view: PoolView) -> dict[Path, float]:
    """Return credit by path, the small names of each column as one."""
    credit = view.amounts("holding_use")
    chains, protocols, bridges = (
        [str(name) for name in view.totals[f"holding_{group}"].values]
        for group in ("chain", "protocol", "bridge")
    )
    held = [_held(*names) for names in zip(chains, protocols, bridges, strict=True)]
    lies = [NOWHERE["chain"] if chain == NONE else chain for chain in chains]
    uses = [str(name) for name in view.totals["use"].values]
    columns = (
        _largest(lies, credit.sum(axis=(1, 2))),
        _largest(held, credit.sum(axis=(1, 2))),
        _largest(view.names("asset"), credit.sum(axis=(0, 2))),
        _largest([FREE_WORDS if use == FREE else use for use in uses], credit.sum(axis=(0, 1))),
    )
    found: dict[Path, float] = defaultdict(float)
    for way, asset, use in np.argwhere(credit > 0.0).tolist():
        path = (columns[0][way], columns[1][way], columns[2][asset], columns[3][use])
        found[path] += float(credit[way, asset, use])
    return dict(found)


def _held(chain: str, protocol: str, bridge: str) -> str:
    """Return how a token is held, in words.

    >>> _held("Base", "none", "keelway"), _held("none", "none", "none")
    ('over keelway', 'custodian')
    """
    if protocol != NONE:
        return f"in {protocol}"
    if bridge != NONE:
        return f"over {bridge}"
    return "custodian" if chain == NONE else "wallet"


def _largest(names: Sequence[str], amounts: NDArray[np.float64]) -> list[str]:
    """Return names, those that are not among the largest replaced."""
    whole: dict[str, float] = defaultdict(float)
    for name, amount in zip(names, amounts.tolist(), strict=True):
        whole[name] += amount
    kept = sorted(whole, key=lambda name: -whole[name])
    kept = kept if len(kept) <= SHOWN + 1 else kept[:SHOWN]
    return [name if name in kept else OTHERS for name in names]


def _choice(label: str, paths: dict[Path, float]) -> Choice:
    """Draw some paths: nodes in columns, the largest on top, and bands between them."""
    nodes: dict[Node, float] = defaultdict(float)
    links: dict[tuple[Node, Node, bool], float] = defaultdict(float)
    for path, amount in paths.items():
        for at, name in enumerate(path):
            nodes[at, name] += amount
            if at:
                links[(at - 1, path[at - 1]), (at, name), path[3] != FREE_WORDS] += amount
    order = sorted(nodes, key=lambda node: (node[0], -nodes[node]))
    middles = _middles(order, nodes)
    trace = {
        "type": "sankey",
        "arrangement": "fixed",
        "node": _nodes(order, nodes, middles),
        "link": _links(links, {node: at for at, node in enumerate(order)}),
    }
    words = [
        _note(
            f"{safe(clipped(name, 20))} · {money(nodes[at, name])}",
            x=at / 3,
            y=1.0 - middle,
            yanchor="middle",
            xanchor="left",
            xshift=10,
            bgcolor="--card",
            opacity=0.85,
            borderpad=0,
            font={"size": 12},
        )
        for (at, name), middle in zip(order, middles, strict=True)
    ]
    headings = [
        _note(f"<b>{name}</b>", x=at / 3, y=1.0, yanchor="bottom", xanchor="left", xshift=-7)
        | {"yshift": 6}
        for at, name in enumerate(COLUMNS)
    ]
    hidden = {"visible": False, "fixedrange": True}
    layout = {
        "xaxis": hidden,
        "yaxis": hidden,
        "annotations": words + headings,
        "margin": MARGIN,
    }
    return Choice(label, [trace], layout)


def _note(text: str, **where: object) -> dict[str, object]:
    return {"text": text, "xref": "paper", "yref": "paper", "showarrow": False} | where


def _nodes(
    order: Sequence[Node], nodes: dict[Node, float], middles: Sequence[float]
) -> dict[str, object]:
    whole = sum(amount for (at, _), amount in nodes.items() if at == 0)
    return {
        "label": [""] * len(order),
        "customdata": [
            hover(
                name,
                ("Credit", money(nodes[at, name])),
                ("Share", percent(nodes[at, name] / whole)),
            )
            for at, name in order
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "color": [COLOURS[at] for at, _ in order],
        "x": [max(0.001, min(0.999, at / 3)) for at, _ in order],
        "y": list(middles),
        "line": {"width": 0},
        "pad": GAP,
        "thickness": 14,
    }


def _links(links: dict[tuple[Node, Node, bool], float], row: dict[Node, int]) -> dict[str, object]:
    drawn = sorted(links, key=lambda link: (row[link[0]], not link[2], row[link[1]]))
    return {
        "source": [row[link[0]] for link in drawn],
        "target": [row[link[1]] for link in drawn],
        "value": plain([links[link] for link in drawn]),
        "customdata": [
            hover(
                f"{source[1]} to {target[1]}",
                ("Needed by positions" if needed else "Free", money(links[source, target, needed])),
            )
            for source, target, needed in drawn
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "color": ["--flow-needed" if needed else "--flow-free" for _, _, needed in drawn],
    }


def _middles(order: Sequence[Node], nodes: dict[Node, float]) -> list[float]:
    """Return the middle of each node, from the top; each column fills the height.

    Money has one scale in all columns: what the fullest of them leaves after its gaps.
    """
    columns = [[node for node in order if node[0] == at] for at in range(len(COLUMNS))]
    whole = sum(nodes[node] for node in columns[0])
    gap = GAP / (HEIGHT - MARGIN["t"] - MARGIN["b"])
    scale = (1.0 - gap * (max(map(len, columns)) - 1)) / whole
    middles = []
    for own in columns:
        room = (1.0 - whole * scale) / (len(own) - 1) if len(own) > 1 else 0.0
        top = 0.0
        for node in own:
            height = nodes[node] * scale
            middles.append(round(max(0.001, min(0.999, top + height / 2.0)), 5))
            top += height + room
    return middles
