"""What a stress run is made of, and the key that its inputs make."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from risk.systemic.plan import StressPlan, parse_stress_plan
from storage.arrays import STRESS
from storage.book import Book
from storage.digest import text_digest
from storage.objects import S3Folder
from storage.rule_text import read_rule_text
from storage.runs import Run, RunStore
from workers.code_version import code_version
from workers.inputs import book_of

DEFAULT_PLAN = "margincube-stress-2026-01"


class UnknownPlan(ValueError):
    """No plan of a stress test of that name ships, and no such file exists."""


@dataclass(frozen=True, slots=True)
class NamedPlan:
    """A plan with the text that it was read from."""

    plan: StressPlan
    text: str

    @property
    def digest(self) -> str:
        """The digest of the text."""
        return text_digest(self.text)


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

    ``run`` and ``plan`` decide the numbers; the rest only how fast they come. ``batch`` scenarios
    go through the book together, and are what a kill can cost.
    """

    run: str
    plan: str = DEFAULT_PLAN
    runs: Path | S3Folder = Path("margincube-data/runs")
    stresses: Path | S3Folder = Path("margincube-data/stresses")
    shards: int | None = None
    batch: int = 32


@dataclass(frozen=True, slots=True)
class StressIdentity:
    """Which stress run a request means: the same inputs and code are the same run."""

    run_id: str
    key: str
    run: Run
    book: Book
    named: NamedPlan


def identify_stress(request: StressRequest) -> StressIdentity:
    """Open the inputs of a stress run and name it.

    Raises:
        UnknownRun: no margin run of that name has been published.
        BookChanged: the book of the run is another one now.
        UnknownPlan: neither a shipped plan nor a file.
        ValueError: a batch of no scenarios.
    """
    if request.batch < 1:
        raise ValueError(f"batch is {request.batch}; allowed is 1 or more")
    run = RunStore(request.runs).open(request.run)
    book, named = book_of(run), load_plan(request.plan)
    key = text_digest(run.manifest["digest"], named.digest, code_version())
    name = f"{book.name}-{book.as_of:%Y%m%d}-stress-{key[:12]}"
    return StressIdentity(name, key, run, book, named)


def stress_store(request: StressRequest) -> RunStore:
    """Return where stress runs are published."""
    return RunStore(request.stresses, STRESS)
