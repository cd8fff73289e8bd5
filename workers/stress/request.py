"""What a stress run is made of, and the key that its inputs make."""

from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from risk.systemic.plan import StressPlan, parse_stress_plan
from storage.arrays import POOL, STRESS
from storage.book import Book
from storage.digest import text_digest
from storage.objects import S3Folder
from storage.rule_text import read_rule_text
from storage.runs import Run, RunStore, StoredRun, UnknownRun
from workers.approval import ModelStanding, require_approved, standing_of_model
from workers.code_version import code_version
from workers.inputs import book_of

DEFAULT_PLAN = "margincube-stress-2026-01"


class UnknownPlan(ValueError):
    """No plan of a stress test of that name ships, and no such file exists."""


class PoolOfAnotherRun(ValueError):
    """A collateral run is of another margin run than the one that is to be stressed."""


@dataclass(frozen=True, slots=True)
class NamedPlan:
    """A plan with the text that it was read from."""

    plan: StressPlan
    text: str

    @property
    def digest(self) -> str:
        """The digest of the text."""
        return text_digest(self.text)

    def standing(self, as_of: datetime) -> ModelStanding:
        """Return whether the text is approved on a day, and why not."""
        return standing_of_model(self.plan, self.text, as_of)


def shipped_plans() -> list[str]:
    """Return the names of the plans that come with the package.

    >>> DEFAULT_PLAN in shipped_plans()
    True
    """
    folder = resources.files("risk.methodologies") / "stress"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_plan(name: str) -> NamedPlan:
    """Read a plan by the name it ships under, or from a TOML file.

    Raises:
        UnknownPlan: neither a shipped name nor a file.
        ValueError: the text is no valid plan.
    """
    if name in shipped_plans():
        text = (resources.files("risk.methodologies") / "stress" / f"{name}.toml").read_text()
    elif Path(name).is_file():
        text = read_rule_text(name)
    else:
        raise UnknownPlan(
            f"no stress plan {name!r}; shipped are {shipped_plans()}, or give the path of a "
            "TOML file"
        )
    return NamedPlan(parse_stress_plan(text), text)


@dataclass(frozen=True, slots=True)
class StressRequest:
    """What a stress run is to be made of, and how its work is to be cut.

    ``run``, ``plan`` and ``pool``, a collateral run on the margin run, decide the numbers; the rest
    only how fast they come. ``batch`` scenarios go through the book together, and are what a kill
    can cost. ``unapproved`` takes a plan that is not approved on the day, ``reason`` says why it
    runs.
    """

    run: str
    plan: str = DEFAULT_PLAN
    runs: Path | S3Folder = Path("margincube-data/runs")
    stresses: Path | S3Folder = Path("margincube-data/stresses")
    pool: str | None = None
    pools: Path | S3Folder = Path("margincube-data/pools")
    shards: int | None = None
    batch: int = 32
    unapproved: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StressIdentity:
    """Which stress run a request means: the same inputs and code are the same run."""

    run_id: str
    key: str
    run: Run
    book: Book
    named: NamedPlan
    pool: StoredRun | None = None


def identify_stress(request: StressRequest) -> StressIdentity:
    """Open the inputs of a stress run and name it.

    Raises:
        UnknownRun: no margin run of that name has been published.
        BookChanged: the book of the run is another one now.
        UnknownPlan: neither a shipped plan nor a file.
        PoolOfAnotherRun: the collateral run is of another margin run.
        ModelNotApproved: the plan is not, and is not asked for all the same.
        ValueError: a batch of no scenarios.
    """
    if request.batch < 1:
        raise ValueError(f"batch is {request.batch}; allowed is 1 or more")
    run = RunStore(request.runs).open(request.run)
    book, named = book_of(run), load_plan(request.plan)
    require_approved(named.standing(book.as_of), unapproved=request.unapproved)
    pool = None if request.pool is None else _pool_of(request, run)
    key = stress_key(run, named, pool, code_version())
    name = f"{book.name}-{book.as_of:%Y%m%d}-stress-{key[:12]}"
    return StressIdentity(name, key, run, book, named, pool)


def stress_key(run: Run, named: NamedPlan, pool: StoredRun | None, code: str) -> str:
    """Return the key that the inputs of a stress run and a version of the program make."""
    pools = [] if pool is None else [pool.manifest["digest"]]
    return text_digest(run.manifest["digest"], named.digest, code, *pools)


def identity_of(stressed: StoredRun, runs: RunStore, pools: RunStore | None) -> StressIdentity:
    """Return what a published stress run was made of.

    Raises:
        UnknownRun: the margin run or the collateral run that it used is no longer there.
        BookChanged: the book of the run is another one now.
    """
    inputs = stressed.manifest["inputs"]
    run = runs.open(inputs["run"]["run_id"])
    text, used = inputs["plan"]["text"], inputs.get("pool")
    if used is not None and pools is None:
        raise UnknownRun(f"there is no folder of collateral runs, and {used['run_id']} is in one")
    pool = None if used is None or pools is None else pools.read(used["run_id"])
    named = NamedPlan(parse_stress_plan(text), text)
    key = str(stressed.manifest["key"])
    return StressIdentity(stressed.run_id, key, run, book_of(run), named, pool)


def _pool_of(request: StressRequest, run: Run) -> StoredRun:
    pool = RunStore(request.pools, POOL).read(str(request.pool))
    used = pool.manifest["inputs"]["run"]
    if used["digest"] != run.manifest["digest"]:
        raise PoolOfAnotherRun(
            f"collateral run {pool.run_id} is of margin run {used['run_id']}, and {run.run_id} is "
            "to be stressed; give a collateral run of that one"
        )
    return pool


def pool_input(pool: StoredRun | None) -> dict[str, Any]:
    """Return what the manifest says of a collateral run, nothing without one."""
    if pool is None:
        return {}
    return {"pool": {"run_id": pool.run_id, "digest": pool.manifest["digest"]}}


def plan_input(named: NamedPlan) -> dict[str, Any]:
    """Return what the manifest says of a plan."""
    plan = named.plan
    return {
        "name": plan.name,
        "version": plan.version,
        "effective": plan.effective.isoformat(),
        "title": plan.title,
        "not_verified": list(plan.not_verified),
        "digest": named.digest,
        "text": named.text,
    }


def stress_store(request: StressRequest) -> RunStore:
    """Return where stress runs are published."""
    return RunStore(request.stresses, STRESS)
