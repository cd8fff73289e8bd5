"""What a reverse stress is made of, and the key that its inputs make."""

from dataclasses import dataclass
from pathlib import Path

from storage.arrays import REVERSE
from storage.book import Book
from storage.digest import text_digest
from storage.objects import S3Folder
from storage.runs import Run, RunStore
from workers.approval import require_approved
from workers.code_version import code_version
from workers.inputs import book_of
from workers.stress.request import DEFAULT_PLAN, NamedPlan, StressIdentity, load_plan

USUAL = (1, 2, 4, 8)
"""Numbers of members that are to exhaust a resource alone, of as many as there are."""


@dataclass(frozen=True, slots=True)
class ReverseRequest:
    """What is to be exhausted, and by whom.

    ``resources`` are layers of the plan or amounts of USD, all layers that have an end where there
    are none. ``defaulters`` are numbers of members that ascend: for each, the nearest shock at
    which so many alone exhaust the first resource; ``USUAL`` where left out. ``sample`` is the
    number of blocks of accounts that the search looks at; all of them when left out. ``unapproved``
    takes a plan that is not approved on the day, ``reason`` says why it runs.
    """

    run: str
    plan: str = DEFAULT_PLAN
    resources: tuple[str, ...] = ()
    defaulters: tuple[int, ...] | None = None
    sample: int | None = None
    unapproved: bool = False
    reason: str | None = None
    runs: Path | S3Folder = Path("margincube-data/runs")
    reverses: Path | S3Folder = Path("margincube-data/reverses")


@dataclass(frozen=True, slots=True)
class ReverseIdentity:
    """Which reverse stress a request means: the same inputs and code are the same."""

    run_id: str
    key: str
    run: Run
    book: Book
    named: NamedPlan
    defaulters: tuple[int, ...]

    @property
    def stress(self) -> StressIdentity:
        """What cascades of the shocks found are made of; margin systems are not compared."""
        plan = self.named.plan.model_copy(update={"insulation": None})
        named = NamedPlan(plan, self.named.text)
        return StressIdentity(self.run_id, self.key, self.run, self.book, named)


def identify_reverse(request: ReverseRequest) -> ReverseIdentity:
    """Open the inputs of a reverse stress and name it.

    Raises:
        UnknownRun: no margin run of that name has been published.
        BookChanged: the book of the run is another one now.
        UnknownPlan: neither a shipped plan nor a file.
        ModelNotApproved: the plan is not, and is not asked for all the same.
        ValueError: defaulters that do not ascend from 1 up, or are more than there are members, or
            a sample of nothing.
    """
    numbers = request.defaulters or ()
    if list(numbers) != sorted(set(numbers)) or (numbers and numbers[0] < 1):
        raise ValueError(
            f"defaulters are {list(numbers)}; allowed are numbers from 1 up, ascending"
        )
    if request.sample is not None and request.sample < 1:
        raise ValueError(f"sample is {request.sample} blocks; allowed is 1 or more")
    run = RunStore(request.runs).open(request.run)
    book, named = book_of(run), load_plan(request.plan)
    require_approved(named.standing(book.as_of), unapproved=request.unapproved)
    members = book.members().num_rows
    if numbers and numbers[-1] > members:
        raise ValueError(
            f"defaulters are {list(numbers)}, and the book has {members} members; allowed are "
            f"numbers from 1 to {members}, ascending"
        )
    return reverse_identity(request, run, book, named, code_version())


def reverse_identity(
    request: ReverseRequest, run: Run, book: Book, named: NamedPlan, code: str
) -> ReverseIdentity:
    """Name a reverse stress by what its inputs, what is asked, and a version of the program are."""
    numbers = request.defaulters
    if numbers is None:
        numbers = tuple(number for number in USUAL if number <= book.members().num_rows)
    asked = [*request.resources, "by", *map(str, numbers), "of", str(request.sample)]
    key = text_digest(run.manifest["digest"], named.digest, code, *asked)
    name = f"{book.name}-{book.as_of:%Y%m%d}-reverse-{key[:12]}"
    return ReverseIdentity(name, key, run, book, named, numbers)


def reverse_store(reverses: Path | S3Folder) -> RunStore:
    """Return where reverse stresses are published."""
    return RunStore(reverses, REVERSE)
