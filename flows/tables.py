"""Tables in the terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.approval import not_approved, override_words
from flows.format import short, size

if TYPE_CHECKING:
    import xarray as xr

    from storage.runs import Run

WORST_SHOWN = 3
"""Scenarios of each origin in the table of the worst."""


def columns(title: str, *names: str, left: int = 1) -> Table:
    """Return an empty table whose first ``left`` columns are text and the others numbers."""
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        show_header=any(names),
    )
    for index, name in enumerate(names):
        table.add_column(escape(name), justify="left" if index < left else "right", no_wrap=True)
    return table


def print_run(console: Console, manifest: dict[str, Any], run: "Run | None" = None) -> None:
    """Print what a run found, where its time went, and of an opened run where its risk sits."""
    console.print(
        f"[bold]{manifest['run_id']}[/], as of {manifest['as_of']}, "
        f"published {manifest['created']}",
        highlight=False,
    )
    settings = manifest["settings"]
    print_rule_book(console, manifest["inputs"]["methodology"], settings["methodology"])
    print_approval(console, manifest)
    if settings.get("netting", "None") != "None":
        console.print(f"every account is netted as {settings['netting']}", highlight=False)
    if since := manifest.get("since"):
        accounts = manifest["totals"]["accounts"]
        console.print(
            f"nothing is kept of {since['run_id']}: {since['reason']}"
            if since["reason"]
            else f"{since['kept']:,} of {accounts:,} accounts are kept from {since['run_id']}",
            highlight=False,
        )
    table = columns("Totals, USD", "", "", left=1)
    for row in _totals(manifest["totals"]):
        table.add_row(*row)
    table.add_row("digest of all results", manifest["digest"][:16])
    console.print(table, highlight=False)
    if run is not None:
        _print_folds(console, run.folds, run.scenarios, manifest["inputs"]["methodology"])
    print_stages(console, manifest)


def print_rule_book(console: Console, rules: dict[str, Any], where: str) -> None:
    """Print by which rules, of which day, and what their numbers may be called.

    ``where`` is the name or the file that the command ``methodologies`` finds them by.
    """
    dated = f", effective {rules['effective']}" if "effective" in rules else ""
    console.print(
        f"by {escape(rules['name'])} {escape(rules['version'])}{dated}: {escape(rules['title'])}",
        highlight=False,
        soft_wrap=True,
    )
    if "standing" not in rules:
        return
    count = len(rules["not_verified"])
    points = "1 point is" if count == 1 else f"{count} points are"
    doubts = f"; {points} not verified: margincube methodologies {where}" if count else ""
    console.print(escape(f"{rules['standing']}{doubts}"), highlight=False, soft_wrap=True)


def print_approval(console: Console, manifest: dict[str, Any]) -> None:
    """Print that the model of a run is not approved, and why; nothing where it is."""
    missing = not_approved(manifest)
    if missing:
        console.print(f"[bold red]{escape(override_words(manifest))}[/]", soft_wrap=True)
    for line in missing:
        console.print(f"- {escape(line)}", highlight=False, soft_wrap=True)


def _totals(totals: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the totals of a run in words; an earlier version's run lacks some of them."""
    apart = [
        f"{totals[name]:,} {words}"
        for name, words in (("held", "held back"), ("left_out", "in quarantine themselves"))
        if totals.get(name)
    ]
    held = f" ({', '.join(apart)})" if apart else ""
    rows = [
        ("accounts margined", f"{totals['margined']:,}{held}"),
        ("positions", f"{totals['positions']:,}"),
        ("cube", f"{totals['instruments']:,} instruments x {totals['scenarios']:,} scenarios"),
        ("requirement (initial)", short(totals["requirement"])),
    ]
    if "maintenance" in totals:
        rows.append(("maintenance", short(totals["maintenance"])))
    rows.append(("equity", short(totals["equity"])))
    rows.append(
        ("shortfall", f"{short(totals['shortfall'])} in {totals['accounts_short']:,} accounts")
    )
    if "maintenance" in totals:
        rows.append(
            ("accounts below initial, maintenance",
             f"{totals['accounts_short']:,}, {totals['accounts_below_maintenance']:,}")
        )  # fmt: skip
    if "accounts_by_choice" in totals:
        ours = f"{totals['accounts_by_choice']:,} of {totals['margined']:,}"
        rows.append(("accounts under a rule of ours", ours))
    return rows


def _print_folds(
    console: Console, folds: "xr.Dataset", scenarios: "xr.Dataset", rules: dict[str, Any]
) -> None:
    table = columns(
        "Worst scenarios: what the accounts that lose would lose, USD",
        *("scenario", "origin", "weight in margin", "loss", "beyond equity"),
        "accounts under water",
        left=2,
    )
    for row in _worst(folds, scenarios):
        table.add_row(
            *(escape(str(scenarios["scenario"].values[row])), str(scenarios["origin"].values[row])),
            _weight(rules, str(scenarios["origin"].values[row]), float(scenarios["weight"][row])),
            short(float(folds["loss"][row])),
            short(float(folds["uncovered"][row])),
            f"{int(folds['under_water'][row]):,}",
        )
    console.print(table, highlight=False)
    _print_groups(console, folds)
    _print_shortfalls(console, folds)


def _weight(rules: dict[str, Any], origin: str, weight: float) -> str:
    """Return how much of a scenario counts in margin, if its kind counts at all."""
    binding = rules.get("binding_origins", [origin])
    return f"{weight:.3g}" if origin in binding else "reported only"


def _print_groups(console: Console, folds: "xr.Dataset") -> None:
    for group in ("underlying", "venue", "chain"):
        shared = bool((folds[f"{group}_requirement"].values != 0.0).any())
        names = ("share of requirement", "open interest (one side)")
        table = columns(f"By {group}, USD", group, *names[0 if shared else 1 :])
        for name in folds[group].values.tolist():
            cell = folds.sel({group: name})
            share = (short(float(cell[f"{group}_requirement"])),) if shared else ()
            interest = short(float(cell[f"{group}_open_interest"]))
            table.add_row(escape(str(name)), *share, interest)
        console.print(table, highlight=False)


def _print_shortfalls(console: Console, folds: "xr.Dataset") -> None:
    table = columns(
        "Largest shortfalls, USD",
        *("account", "member", "shortfall", "requirement", "equity"),
        left=2,
    )
    for rank in range(min(5, folds.sizes["top_shortfall"])):
        row = folds.isel(top_shortfall=rank)
        table.add_row(
            escape(str(row["top_shortfall_name"].item())),
            escape(str(row["top_shortfall_member"].item())),
            short(float(row["top_shortfall_amount"])),
            short(float(row["top_shortfall_requirement"])),
            short(float(row["top_shortfall_equity"])),
        )
    if table.row_count:
        console.print(table, highlight=False)


def _worst(folds: "xr.Dataset", scenarios: "xr.Dataset") -> list[int]:
    """Return the rows of the worst scenarios of each origin; moves that count in part apart."""
    import numpy as np

    loss, origin = folds["loss"].values, np.array(scenarios["origin"].values.tolist())
    whole = scenarios["weight"].values == 1.0
    named = ("historical", "episode", "stressed", "event", "grid", "scan")
    kinds = [(origin == name) & whole for name in named]
    chosen: list[int] = []
    for kind in (*kinds, ~whole & (origin != "basis")):
        rows = np.flatnonzero(kind)
        chosen += rows[np.argsort(-loss[rows], kind="stable")][:WORST_SHOWN].tolist()
    return chosen


def print_stages(console: Console, manifest: dict[str, Any]) -> None:
    """Print the stage table of a run."""
    table = columns("Stages, seconds", "stage", "wall", "busy", "waiting", "items", "rate")
    for stage in manifest["stages"]:
        counted = stage["items"] > 1
        table.add_row(
            stage["name"],
            f"{stage['wall_s']:.2f}",
            f"{stage['busy_s']:.2f}",
            f"{stage['waiting_s']:.2f}",
            f"{stage['items']:,} {stage['unit']}" if counted else "",
            f"{stage['rate']:,.0f}/s" if counted else "",
        )
    total = sum(stage["wall_s"] for stage in manifest["stages"])
    table.add_row("all", f"{total:.2f}", "", "", "", "")
    console.print(table, highlight=False)
    console.print(_memory(manifest), highlight=False)


def _memory(manifest: dict[str, Any]) -> str:
    """Return in a sentence what was projected and what was taken."""
    memory = manifest.get("memory")
    if memory is None:  # an earlier version measured the peak alone
        return f"peak memory of all processes {size(manifest['peak_memory_bytes'])}"
    if "projected_total" not in memory:
        worker = memory.get("peak_per_worker")
        largest = "" if worker is None else f", of the largest worker {size(worker)}"
        return f"peak memory of all processes {size(memory['peak_total'])}{largest}"
    smaller = ", cut smaller so that they fit" if memory["shards_cut_smaller"] else ""
    if "batch" in memory:
        fewer = ", fewer than asked for so that they fit" if memory["batch_cut_smaller"] else ""
        smaller += f", {memory['batch']:,} scenarios together{fewer}"
    return (
        f"peak memory of all processes {size(memory['peak_total'])} (projected "
        f"{size(memory['projected_total'])}, {memory['limit_of']} {size(memory['limit'])}), of the "
        f"largest worker {size(memory['peak_per_worker'])} (projected "
        f"{size(memory['projected_per_worker'])}); {memory['shards']:,} shards{smaller}"
    )


ALWAYS_SHOWN = ("run", "standing, tags", "methodology", "requirement")
WHERE_THEY_FIT = (
    *("published", "shortfall", "accounts", "maintenance"),
    *("below\ninitial", "below\nmaintenance"),
)
"""Columns of a list of runs, those that a narrow terminal lacks last."""
MOST_TAGS = 30
"""Characters of standing and tags on one line."""


def print_runs(
    console: Console, manifests: list[dict[str, Any]], standing: Mapping[str, Mapping[str, Any]]
) -> None:
    """Print a list of runs, their tags and status, and by which rule books they were made.

    What a narrow terminal has no room for is left out, and said to be.
    """
    rows = [_run_cells(manifest, standing[manifest["run_id"]]) for manifest in manifests]
    width = {
        name: max(len(line) for line in (*name.split("\n"), *(row[name] for row in rows)))
        for name in rows[0]
    }
    width["standing, tags"] = min(width["standing, tags"], MOST_TAGS)
    shown = list(ALWAYS_SHOWN)
    for name in WHERE_THEY_FIT:
        if sum(width[one] + 2 for one in (*shown, name)) - 2 <= console.width:
            shown.append(name)
    names = [name for name in rows[0] if name in shown]
    left = sum(name in ("run", "standing, tags", "methodology", "published") for name in names)
    table = columns("Published runs, newest first; money in USD", *names, left=left)
    for column in table.columns[1:3]:  # a name that is cut short names nothing
        column.no_wrap, column.overflow = False, "fold"
    table.columns[0].min_width = width["run"]
    table.columns[1].min_width = min(width["standing, tags"], len("standing, tags"))
    table.columns[1].max_width = MOST_TAGS
    for row in rows:
        table.add_row(*(escape(row[name]) for name in names))
    console.print(table, highlight=False)
    if gone := [name.replace("\n", " ") for name in rows[0] if name not in shown]:
        console.print(
            f"no room for {', '.join(gone)}: a wider terminal, or --json, has them",
            highlight=False,
            soft_wrap=True,
        )
    books: dict[tuple[str, str], dict[str, Any]] = {}
    for manifest in manifests:
        rules = manifest["inputs"]["methodology"]
        books.setdefault((rules["name"], rules["version"]), rules)
    print_rule_books(console, "Their rule books", list(books.values()))


def _run_cells(manifest: dict[str, Any], said: Mapping[str, Any]) -> dict[str, str]:
    """Return what a list of runs shows of one, by column; an earlier version's run lacks some."""
    totals, methodology = manifest["totals"], manifest["inputs"]["methodology"]
    known = "maintenance" in totals
    return {
        "run": manifest["run_id"],
        "standing, tags": ", ".join([said["standing"], *said["tags"]]),
        "methodology": f"{methodology['name']} {methodology['version']}",
        "published": manifest["created"][:16].replace("T", " "),
        "accounts": f"{totals['accounts']:,}",
        "requirement": short(totals["requirement"]),
        "maintenance": short(totals["maintenance"]) if known else "",
        "shortfall": short(totals["shortfall"]),
        "below\ninitial": f"{totals['accounts_short']:,}",
        "below\nmaintenance": f"{totals['accounts_below_maintenance']:,}" if known else "",
    }


def print_rule_books(console: Console, title: str, books: list[dict[str, Any]]) -> None:
    """Print rule books: name, date, whether the number is a venue's own, title."""
    table = columns(title, "methodology", "effective", "own number of", "not verified", left=3)
    table.add_column("title", overflow="fold")
    for rules in books:
        table.add_row(
            f"{escape(rules['name'])} {escape(rules['version'])}",
            rules.get("effective", ""),
            escape(rules.get("venue") or "no venue") if "standing" in rules else "",
            str(len(rules["not_verified"])) if "standing" in rules else "",
            escape(rules["title"]),
        )
    console.print(table, highlight=False)
