"""The command ``audit``: who did what to a store of runs, when and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from flows.commands.keys import KindName, store_of
from flows.commands.shared import CONSOLE, Json, print_json
from flows.settings import Place, Settings
from flows.tables import columns

if TYPE_CHECKING:
    from storage.arrays import RunKind
    from storage.audit import Entry


def audit(
    *,
    verify: Annotated[bool, Parameter(negative=())] = False,
    contains: str | None = None,
    kind: KindName = "margin",
    runs: str | None = None,
    json: Json = False,
) -> None:
    """List the audit log of a store of runs; an entry that was changed ends it with an error.

    Args:
        verify: check the chain, and that no published run is without an entry, without listing it
        contains: digest of an entry, or a start of it, that was kept elsewhere and must be there
        kind: margin, pool, stress or reverse
        runs: folder of the runs of that kind, or s3://bucket/prefix; that of the settings
        json: print everything as JSON
    """
    from storage.audit import AuditBroken
    from storage.objects import located

    place, run_kind = store_of(Settings.given(), kind)
    place = place if runs is None else located(runs)
    found = _entries(place, run_kind, whole=verify)
    if contains is not None and not any(one.hash.startswith(contains) for one in found):
        raise AuditBroken(
            f"the log of {place} has no entry of digest {contains}; it holds {len(found)} entries, "
            "and those that are gone were at its end, or all of it was written anew"
        )
    last = found[-1].hash if found else None
    if json:
        told: dict[str, Any] = {"place": str(place), "entries": len(found), "last": last}
        print_json(told if verify else told | {"log": [one.as_dict() for one in found]})
        return
    if found and not verify:
        table = columns(
            f"Audit log of {escape(str(place))}, times in UTC",
            *("entry", "when", "who", "what", "run", "why"),
            left=6,
        )
        for column in table.columns[4:]:
            column.no_wrap, column.overflow = False, "fold"
        for one in found:
            table.add_row(
                str(one.number),
                one.when[:19].replace("T", " "),
                escape(f"{one.who['user']} at {one.who['host']}"),
                escape(str(one.what["action"])),
                escape(_subject(one.what)),
                escape(one.why or ""),
            )
        CONSOLE.print(table, highlight=False)
    CONSOLE.print(
        f"{len(found):,} entries, each chained to the one before it; the last is {last}"
        if last
        else f"nothing has been recorded in {place}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _entries(place: Place, kind: "RunKind", *, whole: bool) -> "list[Entry]":
    """Return the entries of a log; a ``whole`` one has every run that is published there.

    Raises:
        AuditBroken: an entry is not the one that was written, or that of a run is missing.
        UnknownRun: there is nothing at that place.
    """
    from storage.audit import AuditBroken, entries, unrecorded
    from storage.repository import has_repository
    from storage.runs import RunStore, UnknownRun

    # Before the entries: that of a run is there before the run.
    published = RunStore(place, kind).survey()[0] if whole and has_repository(place) else []
    found = list(entries(place))
    if not found and not (place.is_dir() if isinstance(place, Path) else has_repository(place)):
        raise UnknownRun(
            f"no folder of {kind.name} runs at {place}; give the one that has them by --runs"
        )
    if lacking := unrecorded(found, published):
        raise AuditBroken(
            f"{', '.join(lacking)} published in {place}, and none of the {len(found)} entries of "
            "its log says so: others were taken away; bring the log back from a copy, such as "
            "that of margincube backup"
        )
    return found


def _subject(what: dict[str, Any]) -> str:
    """Return what an entry is about, and against which rules it went."""
    about = str(what.get("run") or what.get("book") or what.get("file") or what.get("from") or "")
    overrides = ", ".join(f"{name} {value}" for name, value in what.get("overrides", {}).items())
    return f"{about}; overrides: {overrides}" if overrides else about
