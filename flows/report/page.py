"""The page: sections of pictures and tables, one style sheet, one script, nothing to fetch."""

import html
import json
import re
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path

from plotly.offline import get_plotlyjs

from flows.report import accounts, headline, quality, running
from flows.report.distribution import Tail, distribution, system_tail
from flows.report.events import scenario_words, worst_told
from flows.report.groups import groups
from flows.report.heat import heat_map
from flows.report.losses import over_time, worst_scenarios
from flows.report.members import members
from flows.report.members_in_events import member_scenarios
from flows.report.picture import Picture, Section, Sentence, Table
from flows.report.view import RunView

# The browser itself refuses whatever is not in the page.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
EVENTS_SHOWN = 10
UNIT = re.compile(r"(?<=USD) (?=[\d−])|(?<=\d) (?=(?:k|m|bn|tn|ms|s|min|h|[kMGT]?B)\b|%)")
"""The space between a currency and its amount, or a number and its unit."""


def write_report(view: RunView, path: Path) -> None:
    """Write a run as one HTML page that needs no network and no other file.

    Raises:
        ValueError: the scenarios of the view are not those of its folds.
    """
    path.write_text(render(view), encoding="utf-8")


def render(view: RunView) -> str:
    """Return the page of a run."""
    tail = system_tail(view)
    parts = sections(view, tail)
    pictures = [block for part in parts for block in part.blocks if isinstance(block, Picture)]
    files = resources.files("flows.report")
    style, script = (
        files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            '<link rel="icon" href="data:,">\n',
            f"<title>Margin run {_text(view.run_id)}</title>\n<style>\n{style}</style>\n</head>\n",
            "<body>\n",
            _head(view, tail, parts),
            "<main>\n",
            "".join(_section(part) for part in parts),
            "</main>\n",
            "<footer>Amounts are US dollars; k, m, bn and tn are thousand, million, billion and "
            "trillion. Times are UTC. Margin, loss and shortfall are positive numbers; P&amp;L is "
            "positive where it is a gain.</footer>\n",
            f'<script type="application/json" id="pictures">{_json(pictures)}</script>\n',
            f"<script>{get_plotlyjs()}</script>\n<script>\n{script}</script>\n",
            "</body>\n</html>\n",
        )
    )


def sections(view: RunView, tail: Tail) -> list[Section]:
    """Return the sections of the page in their order."""
    kind, worst = worst_told(view, view.per_scenario("loss"), EVENTS_SHOWN)
    drawn = len(worst) and view.folds.sizes["member"]
    in_worst = [member_scenarios(view, kind, worst)] if drawn else []
    row = int(worst[0]) if len(worst) else None
    return [
        Section(
            "requirement",
            "Who must post the margin, and what for",
            _requirement_words(view, kind, row),
            (members(view), *groups(view, kind, row)),
        ),
        Section(
            "scenarios",
            "What the whole system would lose",
            "The loss of the system is what the accounts that lose would lose, each scenario "
            "taken by itself; somebody else gains as much.",
            (
                over_time(view),
                *_side_by_side(worst_scenarios(view), heat_map(view)),
                *distribution(view, tail),
                *in_worst,
            ),
        ),
        Section(
            "accounts",
            "How it falls on accounts",
            "Most accounts are small; what matters is the few that are large and the few that "
            "are close to their limit.",
            (
                accounts.requirement_distribution(view),
                accounts.utilisation_distribution(view),
                accounts.concentration(view),
                accounts.largest_shortfalls(view),
                accounts.largest_requirements(view),
            ),
        ),
        Section(
            "market",
            "How well the market is known",
            "Option prices in every scenario come from a volatility surface that is fitted to the "
            "venue's quotes.",
            (quality.surface_error(view), quality.surface_table(view)),
        ),
        Section(
            "run", "How the run was made", "", (running.stages(view), running.manifest_table(view))
        ),
    ]


def _requirement_words(view: RunView, kind: str, row: int | None) -> str:
    """Return what the pictures of the first section are of."""
    split = (
        "it is the share of the scenario layers that positions there cause."
        if view.splits_requirement
        else "there is no such share: this rule book's requirement is not split over positions."
    )
    paid = "" if row is None else f" ({scenario_words(view, row)})"
    losing = (
        ""
        if row is None
        else f" Paid in the worst {kind}{paid} is what losing positions pay winning ones."
    )
    return (
        "The requirement of an account is the sum of its layers. By member it is the whole "
        f"requirement; by underlying, protocol, chain and venue {split}{losing} Open interest is "
        "one side of all open contracts at the index price."
    )


def _side_by_side(
    ranking: Picture | Sentence, heat: Picture | None
) -> tuple[Picture | Sentence, ...]:
    """Return the ranking beside the map, or over the whole width where there is no map."""
    return (replace(ranking, wide=True),) if heat is None else (ranking, heat)


def _head(view: RunView, tail: Tail, parts: list[Section]) -> str:
    facts = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
        for name, value in headline.facts(view)
    )
    tiles = "".join(
        f'<div class="tile{" alarming" if tile.alarming else ""}"><h3>{_text(tile.name)}</h3>'
        f'<p class="number">{_text(tile.value)}</p><p>{_text(tile.meaning)}</p></div>\n'
        for tile in headline.tiles(view, tail)
    )
    links = "".join(f'<a href="#{part.name}">{_text(part.title)}</a>' for part in parts)
    title = str(view.rule_book.get("title") or "")
    words, doubts = headline.standing(view)
    standing = f'<p class="standing">{_text(words)}</p>\n' if words else ""
    listed = "".join(f"<li>{_text(doubt)}</li>" for doubt in doubts)
    unverified = f'<ul class="unverified">{listed}</ul>\n' if doubts else ""
    return (
        f'<header>\n<p class="brand">margincube</p>\n<h1>Margin run {_text(view.run_id)}</h1>\n'
        f'<p class="rules">{_text(title)}</p>\n{standing}{unverified}'
        f'<dl class="facts">{facts}</dl>\n'
        f'<p class="summary">{_text(headline.summary(view))}</p>\n</header>\n'
        f'<section class="tiles" aria-label="Headline numbers">\n{tiles}</section>\n'
        f'<nav aria-label="Sections">{links}</nav>\n'
    )


def _section(part: Section) -> str:
    introduction = f"<p>{_text(part.introduction)}</p>" if part.introduction else ""
    blocks = "".join(_block(block) for block in part.blocks)
    return (
        f'<section id="{part.name}"><h2>{_text(part.title)}</h2>{introduction}\n'
        f'<div class="blocks">\n{blocks}</div></section>\n'
    )


def _block(block: Picture | Table | Sentence) -> str:
    wide = " wide" if block.wide else ""
    title = f"<h3>{_text(block.title)}</h3>"
    if isinstance(block, Sentence):
        return (
            f'<article class="block{wide}">{title}'
            f'<p class="sentence">{_text(block.text)}</p></article>\n'
        )
    caption = f'<p class="caption">{_text(block.caption)}</p>'
    if isinstance(block, Table) and block.folded:
        return (
            f'<details class="block{wide}"><summary>{_text(block.title)}</summary>'
            f"{caption}{_table(block)}</details>\n"
        )
    if isinstance(block, Table):
        return f'<article class="block{wide}">{title}{_table(block)}{caption}</article>\n'
    buttons = "".join(
        f'<button type="button" aria-pressed="{"false" if at else "true"}">'
        f"{_text(choice.label)}</button>"
        for at, choice in enumerate(block.choices)
    )
    switch = f'<div class="switch" role="group">{buttons}</div>' if len(block.choices) > 1 else ""
    return (
        f'<article class="block{wide}">{title}{switch}<div class="picture" '
        f'id="picture-{block.name}" style="height:{block.height}px" role="img" '
        f'aria-label="{_text(block.title)}"></div>{caption}</article>\n'
    )


def _table(table: Table) -> str:
    kinds = ["text" if at in table.text_columns else "number" for at in range(len(table.columns))]
    head = "".join(
        f'<th class="{kind}" scope="col">{_text(name)}</th>'
        for kind, name in zip(kinds, table.columns, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{_text(cell)}</td>' for kind, cell in zip(kinds, row, strict=True)
        )
        + "</tr>\n"
        for row in table.rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
        "</div>"
    )


def _text(value: str) -> str:
    """Return text as HTML, numbers kept together with their units."""
    return html.escape(UNIT.sub("\N{NO-BREAK SPACE}", value), quote=True)


def _json(pictures: list[Picture]) -> str:
    """Return the pictures as JSON that cannot end the element it stands in."""
    choices = {picture.name: [asdict(choice) for choice in picture.choices] for picture in pictures}
    text = json.dumps(choices, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
