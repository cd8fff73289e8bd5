"""What a published collateral run was computed from, found again and computed again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from risk.claims.findings import Grounds
from risk.claims.rules import parse_pool_rules
from storage.book import Book
from storage.claims import Claims
from storage.objects import S3Folder, located
from storage.runs import Run, RunStore, StoredRun
from workers.code_version import code_version
from workers.engine import SerialEngine
from workers.explain import CannotExplain
from workers.inputs import book_of
from workers.pool.count import Counted, count_claims, grounds_of
from workers.pool.plan import PoolPlan, plan_pool
from workers.pool.request import NamedRules, PoolIdentity, PoolRequest
from workers.pool.terms import Valued, value_pool


class InputsChanged(ValueError):
    """The margin run or the claims of a collateral run are not those that it used."""


@dataclass(frozen=True)
class PoolSource:
    """A collateral run, its inputs, and what its claims and tokens come to when looked at anew."""

    pool: StoredRun
    run: Run
    plan: PoolPlan
    grounds: Grounds
    counted: Counted
    valued: Valued

    @property
    def book(self) -> Book:
        """The book whose accounts are pooled."""
        return self.plan.book


def pool_source(pool: StoredRun, runs: Path | S3Folder) -> PoolSource:
    """Find the inputs of a collateral run, count its claims and value its tokens again.

    ``runs`` is where its margin run was published.

    Raises:
        CannotExplain: what a unit of a token comes to is not what was stored.
        ValueError: as ``source_again``.
    """
    source = source_again(pool, runs)
    _require_stored(pool, source.plan, source.valued)
    return source


def source_again(pool: StoredRun, runs: Path | S3Folder) -> PoolSource:
    """Find the inputs, count and value again, whatever the run has stored of it.

    Raises:
        UnknownRun: the margin run is not among these.
        BookMissing: there is no book where the run found it.
        ClaimsMissing: there are no claims where the run found them.
        BookChanged: the book is not the one that the run used.
        InputsChanged: the margin run or the claims are not those that the run used.
    """
    inputs = pool.manifest["inputs"]
    run = RunStore(runs).open(inputs["run"]["run_id"])
    claims = Claims.open(located(inputs["claims"]["path"]))
    for what, digest, wanted in (
        (f"margin run {run.run_id}", run.manifest["digest"], inputs["run"]["digest"]),
        (f"claims {claims.name}", claims.digest, inputs["claims"]["digest"]),
    ):
        if digest != wanted:
            raise InputsChanged(
                f"{what} has digest {digest[:12]}, collateral run {pool.run_id} used "
                f"{wanted[:12]}; bring back what the run used"
            )
    text = inputs["rules"]["text"]
    named = NamedRules(parse_pool_rules(text), text)
    key = pool.manifest["key"]
    identity = PoolIdentity(pool.run_id, key, run, book_of(run), claims, named)
    plan = plan_pool(identity, PoolRequest(run.run_id, claims.location))
    counted = count_claims(plan, SerialEngine())
    valued = value_pool(plan, counted.totals)
    return PoolSource(pool, run, plan, grounds_of(plan), counted, valued)


def _require_stored(pool: StoredRun, plan: PoolPlan, valued: Valued) -> None:
    tokens, scenarios = pool.groups["tokens"], pool.groups["scenarios"]
    for what, again, stored in (
        ("what a unit of a token fetches", valued.terms.value, tokens["unit_value"].values),
        ("what a unit of a token counts for", valued.terms.credit, tokens["unit_credit"].values),
        ("the P&L of an instrument", valued.terms.cube, scenarios["pnl"].values),
        ("the weight of a scenario", valued.terms.weight, scenarios["weight"].values),
    ):
        if not np.array_equal(again, stored):
            raise CannotExplain(
                f"{what} is not the one of {pool.run_id} when computed again, by "
                f"{code_version()}, the run by {pool.manifest['code_version']}; explain a run "
                "with the version that made it"
            )
