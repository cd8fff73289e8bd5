"""The flow of credit: from the chain it lies on, over how it is held, to what it backs."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flows.format import clipped, money, percent
from flows.report.collateral.view import NOWHERE, PoolView
from flows.report.picture import Choice, Picture, Sentence, plain, safe
from risk.claims.rules import NONE

SHOWN = 11
"""Names in a column; the rest are one."""

HEIGHT, GAP = 660, 18
MARGIN = {"l": 4, "r": 4, "t": 34, "b": 10}
"""Pixels of the picture, between its nodes and around them."""

COLUMNS = ("Lies on", "Held", "Asset", "Backs")
COLOURS = ("--layer-1", "--layer-3", "--layer-4", "--layer-2")
FREE = "free"
FREE_WORDS = "no position"
OTHERS = "others"
TITLE = "From where collateral lies to what it backs"

Path = tuple[str, str, str, str]
"""A chain, a way of holding, an asset and a use."""


def flow(view: PoolView) -> Picture | Sentence:
    """Return the flow of credit from chains to venues."""
    paths = _paths(view)
    whole = sum(paths.values())
    if whole <= 0.0:
        return Sentence(TITLE, "Nothing in this pool counts, so nothing flows.", wide=True)
    needed = {path: amount for path, amount in paths.items() if path[3] != FREE_WORDS}
    choices = [Choice("All credit", [_sankey(paths)], _layout())]
    if needed:
        choices.append(Choice("What positions need", [_sankey(needed)], _layout()))
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
            "Every column sums to the whole credit."
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


def _sankey(paths: dict[Path, float]) -> dict[str, object]:
    nodes: dict[tuple[int, str], float] = defaultdict(float)
    links: dict[tuple[tuple[int, str], tuple[int, str], bool], float] = defaultdict(float)
    for path, amount in paths.items():
        for at, name in enumerate(path):
            nodes[at, name] += amount
            if at:
                links[(at - 1, path[at - 1]), (at, name), path[3] != FREE_WORDS] += amount
    order = sorted(nodes, key=lambda node: (node[0], -nodes[node]))
    row = {node: at for at, node in enumerate(order)}
    # Bands that positions need lie on top, the same way in every column.
    drawn = sorted(links, key=lambda link: (row[link[0]], not link[2], row[link[1]]))
    whole = sum(paths.values())
    return {
        "type": "sankey",
        "arrangement": "fixed",
        "node": {
            "label": [
                f"{safe(clipped(name, 20))} · {money(nodes[at, name])}" for at, name in order
            ],
            "customdata": [percent(nodes[node] / whole) for node in order],
            "hovertemplate": "%{label}<br>%{customdata} of what is shown<extra></extra>",
            "color": [COLOURS[at] for at, _ in order],
            "x": [max(0.001, min(0.999, at / 3)) for at, _ in order],
            "y": _heights(order, nodes),
            "line": {"width": 0},
            "pad": GAP,
            "thickness": 14,
        },
        "link": {
            "source": [row[link[0]] for link in drawn],
            "target": [row[link[1]] for link in drawn],
            "value": plain([links[link] for link in drawn]),
            "customdata": [
                f"{safe(link[0][1])} to {safe(link[1][1])}<br>{money(links[link])}, "
                + ("needed by positions" if link[2] else "free")
                for link in drawn
            ],
            "hovertemplate": "%{customdata}<extra></extra>",
            "color": ["--flow-needed" if link[2] else "--flow-free" for link in drawn],
        },
        "textfont": {"color": "--ink", "size": 12},
    }


def _heights(order: Sequence[tuple[int, str]], nodes: dict[tuple[int, str], float]) -> list[float]:
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


def _layout() -> dict[str, object]:
    hidden = {"visible": False, "fixedrange": True}
    headings = [
        {
            "text": f"<b>{name}</b>",
            "x": at / 3,
            "xanchor": ("left", "center", "center", "right")[at],
            "y": 1.0,
            "yanchor": "bottom",
            "yshift": 6,
            "xref": "paper",
            "yref": "paper",
            "showarrow": False,
        }
        for at, name in enumerate(COLUMNS)
    ]
    return {
        "xaxis": hidden,
        "yaxis": hidden,
        "annotations": headings,
        "margin": MARGIN,
    }
