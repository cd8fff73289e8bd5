"""Margin calls of a run: who is called for how much and why, and what changed since another run.

Accounts are read shard by shard and stay in columns; only the rows that are shown become objects.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.health import AccountHealth, HealthSpec, account_health
from risk.specification import read_toml
from storage.book import PART_ACCOUNTS, Book
from storage.history import read_history
from storage.runs import Run, RunStore
from workers.call_rows import (
    CURRENCY,
    HEALTH_NAMES,
    AccountRows,
    FirstRows,
    RowTables,
    causes,
    open_writers,
    read_rows,
    require_maintenance,
)
from workers.inputs import book_of
from workers.shards import Shard, cut
from workers.since import Changes, Since
from workers.stages import Observer

CALLED = int(AccountHealth.MARGIN_CALL)
"""Health from which on an account is called."""


@dataclass(frozen=True, slots=True)
class CallFiles:
    """Where all calls are written to, if anywhere."""

    csv: Path | None = None
    parquet: Path | None = None


def health_rules(run: Run) -> HealthSpec:
    """Return the thresholds of health of a run's methodology, or the usual ones.

    Raises:
        ValueError: the table ``[health]`` of the methodology has a wrong field.
    """
    # What lists calls prices nothing, so it reads no more of the methodology than this.
    text = run.manifest["inputs"]["methodology"]["text"]
    return HealthSpec.model_validate(read_toml(text).get("health", {}))


def run_before(store: RunStore, run: Run) -> Run | None:
    """Return the newest earlier run of the same book by the same rules and netting, if any.

    Runs that were set aside are passed over.
    """

    def same(manifest: dict[str, Any]) -> tuple[str, str, Any]:
        book, rules = manifest["inputs"]["book"], manifest["inputs"]["methodology"]
        return book["name"], rules["name"], rules.get("netting")

    manifests, aside = store.manifests(), read_history(store.path).aside
    names = [manifest["run_id"] for manifest in manifests]
    for manifest in manifests[names.index(run.run_id) + 1 :]:
        if manifest["run_id"] in aside:
            continue
        if same(manifest) == same(run.manifest) and manifest["as_of"] <= run.manifest["as_of"]:
            earlier = store.open(manifest["run_id"])
            return earlier if "maintenance" in earlier.accounts else None
    return None


def margin_calls(
    run: Run,
    observer: Observer,
    *,
    previous: Run | None = None,
    limit: int = 20,
    files: CallFiles | None = None,
    spec: HealthSpec | None = None,
) -> dict[str, Any]:
    """Return the calls of a run, largest first, with totals by health and by member.

    ``limit`` is how many calls and how many changed accounts are listed; all calls go to ``files``.
    With a ``previous`` run of the same book, says what changed since.

    Raises:
        BookChanged: a book is not the one that its run used.
        NothingBefore: the previous run is of another book.
        RunTooOld: a run stores no maintenance requirement.
        ValueError: a file's name does not end in what it is.
    """
    for one in (run, previous):
        if one is not None:
            require_maintenance(one)
    rules, book, files = spec or health_rules(run), book_of(run), files or CallFiles()
    since = None if previous is None else Since(previous, run)
    tables, totals = RowTables(run, book, rules), Totals(book.members().num_rows)
    calls = FirstRows(limit, ("call_amount", "descending"))
    changed = FirstRows(limit, ("health_code", "descending"), ("excess_change", "ascending"))
    with ExitStack() as stack:
        writers = []
        observer.begin("calls", book.accounts, "accounts")
        for part in [Shard(0, 0, 0), *cut(book.accounts, PART_ACCOUNTS)]:
            shard = read_rows(run, book, part, rules)
            change = (
                None if since is None else since.changes(shard.names, shard.equity, shard.initial)
            )
            cause = causes(shard, change, rules)
            called = tables.table(shard, np.flatnonzero(shard.health >= CALLED), change, cause)
            # The first part has no accounts: it tells the columns before anything is read.
            if part.stop == 0:
                writers = open_writers(stack, files.csv, files.parquet, called)
                continue
            totals.add(shard)
            calls.add(called)
            for write in writers:
                write(called)
            if since is not None and change is not None:
                since.add(change, cause)
                since.count_moves(*_moves(shard, change, rules))
                changed.add(tables.table(shard, np.flatnonzero(cause), change, cause))
            observer.advance(part.stop - part.start)
        observer.end()
    return {
        "run_id": run.run_id,
        "as_of": run.manifest["as_of"],
        "currency": CURRENCY,
        "rules": rules.model_dump(),
        **totals.described(book),
        "calls": calls.rows(),
        **({} if since is None else {"since": since.described() | {"accounts": changed.rows()}}),
    }


def _moves(shard: AccountRows, change: Changes, rules: HealthSpec) -> tuple[int, int]:
    """Return how many accounts became worse, and how many better."""
    both = change.both
    was = account_health(
        change.before[0][both], change.before[1][both], change.before[2][both], rules
    )
    now = shard.health[both]
    return int(np.count_nonzero(now > was)), int(np.count_nonzero(now < was))


class Totals:
    """Sums over all accounts by health, and by member and health."""

    def __init__(self, members: int) -> None:
        shape = (members, len(AccountHealth))
        self._count: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)
        self._called: NDArray[np.float64] = np.zeros(shape)
        self._sums = {
            name: np.zeros(len(AccountHealth)) for name in ("equity", "initial", "maintenance")
        }
        self._held = 0

    def add(self, shard: AccountRows) -> None:
        """Count the accounts of a shard."""
        there, shape = shard.margined, self._count.shape
        self._held += int(np.count_nonzero(~there))
        health = shard.health[there].astype(np.int64)
        cell = shard.member[there] * len(AccountHealth) + health
        self._count += np.bincount(cell, minlength=self._count.size).reshape(shape)
        amount = np.bincount(cell, shard.call_amount[there], minlength=self._count.size)
        self._called += amount.reshape(shape)
        for name, total in self._sums.items():
            values = getattr(shard, name)[there]
            total += np.bincount(health, values, minlength=len(AccountHealth))

    def described(self, book: Book) -> dict[str, Any]:
        """Return the totals, members with the largest calls first."""
        members = [
            {
                "member": member,
                "accounts_called": int(self._count[at, CALLED:].sum()),
                "call_amount": float(self._called[at].sum()),
                **{name: int(self._count[at, code]) for code, name in enumerate(HEALTH_NAMES)},
            }
            for at, member in enumerate(book.members()["member"].to_pylist())
        ]
        return {
            "accounts": book.accounts,
            "held": self._held,
            "accounts_called": int(self._count[:, CALLED:].sum()),
            "call_amount": float(self._called.sum()),
            "by_health": [
                {
                    "health": name,
                    "accounts": int(self._count[:, at].sum()),
                    **{key: float(values[at]) for key, values in self._sums.items()},
                    "call_amount": float(self._called[:, at].sum()),
                }
                for at, name in enumerate(HEALTH_NAMES)
            ],
            "by_member": sorted(members, key=lambda one: -one["call_amount"]),
        }
