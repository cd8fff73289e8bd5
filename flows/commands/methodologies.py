"""The command ``methodologies``: the rule books that ship, and what each is made of."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from flows.commands.shared import CONSOLE, Json, print_json
from flows.tables import columns

SHARED = (
    "name",
    "version",
    "effective",
    "title",
    "sources",
    "venue",
    "not_verified",
    "events",
    "approval",
)
"""Fields that are told apart from the parameters."""


def methodologies(name: str | None = None, *, json: Json = False) -> None:
    """List the rule books that ship, or show one: its layers, parameters and sources.

    Args:
        name: name of a shipped methodology, or a TOML file; all that ship when left out
        json: print everything as JSON
    """
    from workers.methodologies import load_methodology, shipped_methodologies
    from workers.rule_books import extent_of, rule_book_of

    names = shipped_methodologies() if name is None else [name]
    books = []
    for one in names:
        rules = load_methodology(one).methodology
        told = {"methodology": one, **rule_book_of(rules), "extent": extent_of(rules)}
        if name is not None:
            told |= {
                "layers": list(rules.layers),
                "approval": None
                if rules.approval is None
                else rules.approval.model_dump(mode="json"),
                "sources": list(rules.sources),
                "parameters": _parameters(rules.model_dump(mode="json", exclude_none=True)),
            }
        books.append(told)
    if json:
        print_json(books if name is None else books[0])
    elif name is None:
        print_methodologies(CONSOLE, books)
    else:
        print_methodology(CONSOLE, books[0])


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers and switches of a rule book, without what is told beside them."""
    own = {key: value for key, value in document.items() if key not in SHARED}
    for table in ("standard", "sensitivities"):
        if table in own:
            own[table] = {key: value for key, value in own[table].items() if key not in SHARED}
    return own


def print_methodologies(console: Console, books: list[dict[str, Any]]) -> None:
    """Print a table of rule books."""
    table = columns(
        "Rule books; none is called a venue's number while any point of it is not verified",
        *("name", "kind", "scenarios or rules", "own number of", "not verified"),
        left=4,
    )
    table.add_column("title", overflow="fold")
    for one in books:
        table.add_row(
            *(escape(one["methodology"]), one["kind"], escape(one["extent"])),
            *(escape(one["venue"] or "no venue"), str(len(one["not_verified"]))),
            escape(one["title"]),
        )
    console.print(table, highlight=False)
    console.print(
        "\nmargincube run BOOK --methodology NAME margins by one, "
        "margincube methodologies NAME shows it",
        highlight=False,
    )


def print_methodology(console: Console, one: dict[str, Any]) -> None:
    """Print one rule book: what it may be called, layers, parameters, sources, doubts."""
    from workers.rule_books import KINDS

    console.print(
        f"[bold]{escape(one['methodology'])}[/]: {escape(one['title'])}\n"
        f"{escape(one['name'])} {escape(one['version'])}, effective {one['effective']}\n"
        f"base risk from {KINDS[one['kind']]}: {escape(one['extent'])}\n"
        f"{escape(one['standing'])}\n"
        f"layers, which sum to the requirement: {escape(', '.join(one['layers']))}\n"
        f"{escape(_approval(one['approval']))}",
        highlight=False,
        soft_wrap=True,
    )
    for what in ("not_verified", "sources"):
        if one[what]:
            console.print(f"\n[bold]{what.replace('_', ' ').capitalize()}[/]")
        for line in one[what]:
            console.print(f"- {escape(line)}", highlight=False, soft_wrap=True)
    _print_parameters(console, one["parameters"])


def _approval(stated: dict[str, Any] | None) -> str:
    """Return who owns and approved a rule book, and until when."""
    if stated is None:
        return "not approved: it has no [approval]"
    return (
        f"owned by {stated['owner']}, approved by {stated['approved_by']} until "
        f"{stated['approved_until']}"
    )


def _print_parameters(console: Console, parameters: dict[str, Any]) -> None:
    """Print parameters as lines of name and value, each table of rows as a table."""
    provenance = parameters.get("sensitivities", {}).get("provenance", {})
    single = columns("Parameters", "parameter", "value")
    single.columns[1].justify = "left"
    single.columns[1].no_wrap, single.columns[1].overflow = False, "fold"
    rows: list[tuple[str, list[dict[str, Any]]]] = []
    for path, value in _leaves(parameters):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows.append((path, value))
        elif ".provenance." not in path and value != []:
            single.add_row(escape(path), escape(_words(value)))
    console.print(single, highlight=False)
    for path, listed in rows:
        _print_rows(console, path, listed)
    if provenance:
        console.print("\n[bold]Where the parameters are from[/]")
    for name, source in provenance.items():
        console.print(f"- {escape(name)}: {escape(source)}", highlight=False, soft_wrap=True)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return every value that is not a table, with the path to it."""
    if not isinstance(value, dict):
        return [(path, value)]
    return [
        leaf
        for key, part in value.items()
        for leaf in _leaves(part, f"{path}.{key}" if path else str(key))
    ]


def _print_rows(console: Console, path: str, listed: list[dict[str, Any]]) -> None:
    """Print tables that look alike as one table, and others line by line with their keys."""
    keys = list(dict.fromkeys(key for one in listed for key in one))
    if len(keys) <= 5:
        # A line of its own: a table as narrow as these would break a title.
        console.print(f"\n[bold]{escape(path)}[/]")
        table = columns("", *keys, left=len(keys))
        table.title = None
        for one in listed:
            table.add_row(*(escape(_words(one.get(key, ""))) for key in keys))
        console.print(table, highlight=False)
        return
    console.print(f"\n[bold]{escape(path)}[/]")
    for number, one in enumerate(listed, 1):
        said = "; ".join(
            f"{key} {_words(value)}"
            for key, value in one.items()
            if key != "source" and value != []
        )
        source = f" (source: {one['source']})" if "source" in one else ""
        console.print(f"{number:>3}. {escape(said + source)}", highlight=False, soft_wrap=True)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_words(part) for part in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(part)}" for key, part in value.items())
    return f"{value:,.10g}" if isinstance(value, int | float) else str(value)
