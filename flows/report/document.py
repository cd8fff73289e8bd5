"""A page: a head, sections of pictures and tables, one style sheet and script, nothing to fetch."""

import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources

from plotly.offline import get_plotlyjs

from flows.report.picture import Picture, Section, Sentence, Table

# The browser itself refuses whatever is not in the page.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
LONG = 32
"""Characters of a sentence in a table."""

UNIT = re.compile(r"(?<=USD) (?=[\d−])|(?<=\d) (?=(?:k|m|bn|tn|ms|s|min|h|[kMGT]?B)\b|%)")
"""The space between a currency and its amount, or a number and its unit."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One number with its name and what it means."""

    name: str
    value: str
    meaning: str
    alarming: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above the sections.

    ``rules`` is the title of the rules, ``standing`` what the numbers may be called, ``doubts``
    what is not verified, ``facts`` what the run was made of, ``summary`` the run in one paragraph.
    ``banner`` is what nobody may miss, a sentence and its reasons.
    """

    title: str
    rules: str
    standing: str
    doubts: Sequence[str]
    facts: Sequence[tuple[str, str]]
    summary: str
    tiles: Sequence[Tile]
    banner: Sequence[str] = ()


def document(head: Head, sections: Sequence[Section], footnote: str) -> str:
    """Return a page as HTML that needs no network and no other file."""
    pictures = [block for part in sections for block in part.blocks if isinstance(block, Picture)]
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
            f"<title>{_text(head.title)}</title>\n<style>\n{style}</style>\n</head>\n",
            "<body>\n",
            _head(head, sections),
            "<main>\n",
            "".join(_section(part) for part in sections),
            "</main>\n",
            f"<footer>{_text(footnote)}</footer>\n",
            f'<script type="application/json" id="pictures">{_json(pictures)}</script>\n',
            f"<script>{get_plotlyjs()}</script>\n<script>\n{script}</script>\n",
            "</body>\n</html>\n",
        )
    )


def _head(head: Head, sections: Sequence[Section]) -> str:
    facts = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in head.facts
    )
    tiles = "".join(
        f'<div class="tile{" alarming" if tile.alarming else ""}"><h3>{_text(tile.name)}</h3>'
        f'<p class="number">{_text(tile.value)}</p><p>{_text(tile.meaning)}</p></div>\n'
        for tile in head.tiles
    )
    links = "".join(f'<a href="#{part.name}">{_text(part.title)}</a>' for part in sections)
    standing = f'<p class="standing">{_text(head.standing)}</p>\n' if head.standing else ""
    listed = "".join(f"<li>{_text(doubt)}</li>" for doubt in head.doubts)
    unverified = f'<ul class="unverified">{listed}</ul>\n' if head.doubts else ""
    reasons = "".join(f"<li>{_text(reason)}</li>" for reason in head.banner[1:])
    banner = (
        f'<div class="banner" role="alert"><strong>{_text(head.banner[0])}</strong>'
        f"<ul>{reasons}</ul></div>\n"
        if head.banner
        else ""
    )
    return (
        f'{banner}<header>\n<p class="brand">margincube</p>\n<h1>{_text(head.title)}</h1>\n'
        f'<p class="rules">{_text(head.rules)}</p>\n{standing}{unverified}'
        f'<dl class="facts">{facts}</dl>\n'
        f'<p class="summary">{_text(head.summary)}</p>\n</header>\n'
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
    least = f";min-width:{block.least_width}px" if block.least_width else ""
    place = (
        f'<div class="picture" id="picture-{block.name}" style="height:{block.height}px{least}" '
        f'role="img" aria-label="{_text(block.title)}"></div>'
    )
    if block.least_width:
        place = f'<div class="scroll">{place}</div>'
    return f'<article class="block{wide}">{title}{switch}{place}{caption}</article>\n'


def _table(table: Table) -> str:
    kinds = [_kind(table, at) for at in range(len(table.columns))]
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


def _kind(table: Table, at: int) -> str:
    """Return the classes of a column: numbers, words, or sentences that need room."""
    if at not in table.text_columns:
        return "number"
    longest = max((len(row[at]) for row in table.rows), default=0)
    return "text long" if longest > LONG and not table.folded else "text"


def _text(value: str) -> str:
    """Return text as HTML, numbers kept together with their units."""
    return html.escape(UNIT.sub("\N{NO-BREAK SPACE}", value), quote=True)


def _json(pictures: Sequence[Picture]) -> str:
    """Return the pictures as JSON that cannot end the element it stands in."""
    choices = {picture.name: [asdict(choice) for choice in picture.choices] for picture in pictures}
    text = json.dumps(choices, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
