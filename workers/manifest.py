"""The manifest of a run: what went in, what came out, and how it was made."""

import platform
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from risk.aggregation import PartialSums
from storage.arrays import MARGIN
from storage.book import Book
from storage.digest import text_digest
from storage.market import Market
from workers.approval import accountability
from workers.code_version import code_version, library_versions
from workers.methodologies import NamedMethodology
from workers.plan import Plan, RunRequest
from workers.rule_books import rule_book_of
from workers.shards import cut, shard_length


def run_manifest(
    plan: Plan,
    request: RunRequest,
    sums: PartialSums,
    *,
    digests: dict[str, str],
    engines: dict[str, Any],
    stages: list[dict[str, Any]],
    peak_per_worker: int,
    peak_total: int,
    since: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the manifest; ``digests`` name the exact values of each group of arrays.

    ``peak_per_worker`` is of the largest process that did a task, ``peak_total`` of all processes
    of the machine that led the run, shared pages counted once; bytes. ``since`` says what was kept
    of an earlier run, or why nothing was.
    """
    return {
        "kind": MARGIN.name,
        "run_id": plan.identity.run_id,
        "key": plan.identity.key,
        "status": "published",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "as_of": plan.identity.market.as_of.isoformat(),
        "index": dict(zip(plan.built.underlyings, plan.built.state.index.tolist(), strict=True)),
        "code_version": code_version(),
        "inputs": inputs_of(plan.book, plan.identity.market, plan.identity.named),
        **accountability(
            plan.identity.named.standing(plan.identity.market.as_of),
            settings := _settings(request),
            request.reason,
        ),
        "settings": settings | engines,
        "libraries": {"python": platform.python_version(), **library_versions()},
        "totals": totals_of(
            plan.book,
            sums,
            standard=plan.methodology.standard is not None,
            scenarios=plan.layout.sizes["scenario"],
            instruments=plan.layout.sizes["instrument"],
        ),
        "stages": stages,
        "memory": _memory(plan, request, peak_per_worker, peak_total),
        "since": since,
        "digests": digests,
        "digest": text_digest(*(f"{name}={digests[name]}" for name in sorted(digests))),
    }


def _settings(request: RunRequest) -> dict[str, str]:
    return {field.name: str(getattr(request, field.name)) for field in fields(request)}


def inputs_of(book: Book, market: Market, named: NamedMethodology) -> dict[str, Any]:
    """Return what the manifest says of the inputs."""
    return {
        "book": {
            "name": book.name,
            "path": str(book.location),
            "digest": book.digest,
            "accounts": book.accounts,
            "positions": book.positions,
            "as_of": book.as_of.isoformat(),
        },
        "market": {
            "name": market.name,
            "path": str(market.path.resolve()),
            "digest": market.digest,
            "as_of": market.as_of.isoformat(),
        },
        "methodology": {
            **rule_book_of(named.methodology),
            "digest": named.digest,
            "text": named.text,
            "events": named.events,
        },
    }


def _memory(
    plan: Plan, request: RunRequest, peak_per_worker: int, peak_total: int
) -> dict[str, Any]:
    """Return what was projected, what could be taken, and what was taken; bytes."""
    usual = cut(plan.book.accounts, shard_length(plan.book.accounts, request.shards))
    return {
        **plan.projection.told(plan.rooms),
        "peak_per_worker": peak_per_worker,
        "peak_total": peak_total,
        "shards": len(plan.shards),
        "shards_cut_smaller": len(plan.shards) > len(usual),
    }


def totals_of(
    book: Book, sums: PartialSums, *, standard: bool, scenarios: int, instruments: int
) -> dict[str, Any]:
    """Return the totals; ``accounts_short`` are those below their initial requirement."""
    ours = {"accounts_by_choice": sums.accounts_by_choice} if standard else {}
    return {
        "accounts": sums.accounts,
        "margined": sums.accounts - sums.held,
        "held": sums.held,
        "positions": sums.positions,
        "requirement": float(sums.member_margin.sum()),
        "maintenance": float(sums.member_maintenance.sum()),
        "equity": float(sums.member_equity.sum()),
        "shortfall": float(sums.member_shortfall.sum()),
        "accounts_short": int(sums.member_accounts_short.sum()),
        "accounts_below_maintenance": int(sums.member_accounts_below_maintenance.sum()),
        "left_out": book.left_out,
        "findings": book.quarantine().num_rows,
        **ours,
        "scenarios": scenarios,
        "instruments": instruments,
    }
