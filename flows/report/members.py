"""Who must post the margin: pictures by member."""

import numpy as np
from numpy.typing import NDArray

from flows.format import accounts_words, exact, money, percent
from flows.report.picture import (
    LAYER_COLOURS,
    Choice,
    Layout,
    Picture,
    Sentence,
    Trace,
    amount_axis,
    bars,
    end_labels,
    hover,
    largest_first,
    named_axis,
    plain,
    safe,
    unit_of,
)
from flows.report.view import RunView

SHOWN = 18


def layer_words(layer: str) -> str:
    """Return the name of a layer as people say it.

    >>> layer_words("short_option")
    'Short option'
    """
    return layer.replace("_", " ").capitalize()


def members(view: RunView) -> Picture | Sentence:
    """Return the picture of requirement, equity, shortfall and worst loss by member."""
    title = "Requirement by member"
    margin = _margin(view)
    if not margin.size or not (margin > 0.0).any():
        return Sentence(title, "No member's accounts need any margin in this run.", wide=True)
    total = margin.sum(axis=1)
    rows = largest_first(total, SHOWN)
    rest = len(total) - len(rows)
    most = (
        f"The {len(rows)} members with the largest requirement are shown; {rest:,} smaller ones "
        f"hold {percent(1.0 - float(total[rows].sum() / total.sum()))} of the requirement. "
        if rest
        else ""
    )
    return Picture(
        name="members",
        title=title,
        caption=(
            f"{most}Margin that each member's accounts must post, in US dollars, always positive. "
            "Its layers are stacked and sum to it: each is what one rule asks on top of the rules "
            f"before it. Switch to the equity behind it{_kept(view)}, the shortfall of accounts "
            "that have too little, or "
            "the worst loss of the member's accounts taken together over all scenarios, in which "
            "gains of some accounts offset losses of others."
        ),
        choices=(
            _layers(view, margin, rows),
            _cover(view, total, rows),
            _shortfall(view, rows),
            _worst(view, rows),
        ),
        height=96 + 24 * len(rows),
        wide=True,
    )


def _kept(view: RunView) -> str:
    known = "member_maintenance" in view.folds
    return " with both the requirement and what it takes to keep positions" if known else ""


def _margin(view: RunView) -> NDArray[np.float64]:
    return np.asarray(
        view.folds["member_margin"].transpose("member", "layer").values, dtype=np.float64
    )


def _names(view: RunView, rows: NDArray[np.int64]) -> list[str]:
    return [str(name) for name in view.folds["member"].values[rows]]


def _of(view: RunView, name: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(view.folds[name].values, dtype=np.float64)[rows]


def _layout(view: RunView, rows: NDArray[np.int64], axis: Layout) -> Layout:
    return {"barmode": "stack", "xaxis": axis, "yaxis": named_axis(_names(view, rows))}


def _layers(view: RunView, margin: NDArray[np.float64], rows: NDArray[np.int64]) -> Choice:
    total = margin.sum(axis=1)[rows]
    unit = unit_of(total)
    names = _names(view, rows)
    accounts = _of(view, "member_accounts", rows)
    traces: list[Trace] = []
    for at, layer in enumerate(view.folds["layer"].values):
        if not (margin[:, at] > 0.0).any():
            continue  # a layer that asks nothing of anybody needs no place in the legend
        amounts = margin[rows, at]
        texts = [
            hover(
                name,
                (safe(layer_words(str(layer))), money(amount)),
                ("Requirement", money(whole)),
                ("Accounts", exact(count)),
            )
            for name, amount, whole, count in zip(names, amounts, total, accounts, strict=True)
        ]
        colour = LAYER_COLOURS[at % len(LAYER_COLOURS)]
        traces.append(bars(unit.of(amounts), texts, colour, safe(layer_words(str(layer)))))
    traces.append(end_labels(unit.of(total), [money(amount) for amount in total]))
    axis = amount_axis(unit.words, total / unit.scale)
    return Choice("Requirement by layer", traces, _layout(view, rows, axis))


def _cover(view: RunView, total: NDArray[np.float64], rows: NDArray[np.int64]) -> Choice:
    equity = _of(view, "member_equity", rows)
    requirement = total[rows]
    unit = unit_of([*equity, *requirement])
    texts = [
        hover(name, ("Equity", money(held)), ("Requirement", money(due)))
        for name, held, due in zip(_names(view, rows), equity, requirement, strict=True)
    ]
    held = bars(unit.of(equity), texts, "--calm", "Equity")
    traces = [held, _marks("Requirement", unit.of(requirement), texts, "--alarm")]
    if "member_maintenance" in view.folds:
        kept = unit.of(_of(view, "member_maintenance", rows))
        traces.append(_marks("Maintenance", kept, texts, "--layer-2"))
    axis = amount_axis(unit.words, np.concatenate([equity, requirement]) / unit.scale, room=0.05)
    return Choice("Equity", traces, _layout(view, rows, axis))


def _marks(name: str, places: list[float | None], texts: list[str], colour: str) -> Trace:
    """Draw one upright mark across each bar."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": places,
        "y": list(range(len(places))),
        "marker": {
            "symbol": "line-ns",
            "size": 15,
            "color": colour,
            "line": {"width": 3, "color": colour},
        },
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _shortfall(view: RunView, rows: NDArray[np.int64]) -> Choice:
    shortfall = _of(view, "member_shortfall", rows)
    short = _of(view, "member_accounts_short", rows)
    unit = unit_of(shortfall)
    texts = [
        hover(name, ("Shortfall", money(amount)), ("Accounts short", exact(count)))
        for name, amount, count in zip(_names(view, rows), shortfall, short, strict=True)
    ]
    labels = [
        f"{money(amount)} · {accounts_words(count)}" if count else "none"
        for amount, count in zip(shortfall, short, strict=True)
    ]
    traces = [
        bars(unit.of(shortfall), texts, "--alarm", "Shortfall"),
        end_labels(unit.of(shortfall), labels),
    ]
    axis = amount_axis(unit.words, shortfall / unit.scale, room=0.45)
    return Choice("Shortfall", traces, _layout(view, rows, axis))


def _worst(view: RunView, rows: NDArray[np.int64]) -> Choice:
    pnl = np.asarray(
        view.folds["member_pnl"].transpose("member", "scenario").values, dtype=np.float64
    )[rows]
    at = pnl.argmin(axis=1)
    loss = np.maximum(0.0, -pnl[np.arange(len(rows)), at])
    labels = [str(label) for label in view.scenarios["label"].values[at]]
    unit = unit_of(loss)
    texts = [
        hover(name, ("Worst loss", money(amount)), ("In scenario", safe(label)))
        for name, amount, label in zip(_names(view, rows), loss, labels, strict=True)
    ]
    traces = [
        bars(unit.of(loss), texts, "--layer-1", "Worst loss"),
        end_labels(unit.of(loss), [money(amount) for amount in loss]),
    ]
    axis = amount_axis(unit.words, loss / unit.scale)
    return Choice("Worst scenario", traces, _layout(view, rows, axis))


def layer_totals(view: RunView) -> list[tuple[str, float]]:
    """Return the requirement of the whole system by layer, in words and USD."""
    totals = _margin(view).sum(axis=0)
    names = [layer_words(str(layer)) for layer in view.folds["layer"].values]
    return list(zip(names, plain_floats(totals), strict=True))


def plain_floats(values: NDArray[np.float64]) -> list[float]:
    """Return finite amounts, 0 where there is none."""
    return [value or 0.0 for value in plain(values)]
