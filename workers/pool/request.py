"""What a collateral run is made of, and the key that its inputs make."""

from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from risk.claims.rules import PoolRules, parse_pool_rules
from storage.arrays import POOL
from storage.book import Book
from storage.claims import Claims
from storage.digest import text_digest
from storage.objects import S3Folder
from storage.rule_text import read_rule_text
from storage.runs import Run, RunStore
from workers.approval import ModelStanding, require_approved, standing_of_model
from workers.code_version import code_version
from workers.inputs import book_of

DEFAULT_RULES = "margincube-pool-2026-01"


class UnknownRules(ValueError):
    """No rules of a pool of that name ship, and no such file exists."""


class OfAnotherBook(ValueError):
    """The claims are of the accounts of another book than the run."""


@dataclass(frozen=True, slots=True)
class NamedRules:
    """Rules of a pool with the text that they were read from."""

    rules: PoolRules
    text: str

    @property
    def digest(self) -> str:
        """The digest of the text."""
        return text_digest(self.text)

    def standing(self, as_of: datetime) -> ModelStanding:
        """Return whether the text is approved on a day, and why not."""
        return standing_of_model(self.rules, self.text, as_of)


def shipped_rules() -> list[str]:
    """Return the names of the rules of pools that come with the package.

    >>> DEFAULT_RULES in shipped_rules()
    True
    """
    folder = resources.files("risk.methodologies") / "pool"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_rules(name: str) -> NamedRules:
    """Read the rules of a pool by the name they ship under, or from a TOML file.

    Raises:
        UnknownRules: neither a shipped name nor a file.
        ValueError: the text is no valid set of rules.
    """
    if name in shipped_rules():
        text = (resources.files("risk.methodologies") / "pool" / f"{name}.toml").read_text()
    elif Path(name).is_file():
        text = read_rule_text(name)
    else:
        raise UnknownRules(
            f"no rules of a pool {name!r}; shipped are {shipped_rules()}, "
            "or give the path of a TOML file"
        )
    return NamedRules(parse_pool_rules(text), text)


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """What a collateral run is to be made of, and how its work is to be cut.

    ``run``, ``claims`` and ``rules`` decide the numbers; the rest only how fast they come. The run
    ``latest`` is the newest margin run of the claims' book.
    ``unapproved`` takes rules that are not approved on the day, ``reason`` says why it runs.
    ``runs`` is where the margin run was published, ``pools`` where this one is to be.
    """

    run: str
    claims: Path | S3Folder
    rules: str = DEFAULT_RULES
    runs: Path | S3Folder = Path("margincube-data/runs")
    pools: Path | S3Folder = Path("margincube-data/pools")
    shards: int | None = None
    unapproved: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PoolIdentity:
    """Which collateral run a request means: the same inputs and code are the same run."""

    run_id: str
    key: str
    run: Run
    book: Book
    claims: Claims
    named: NamedRules


def identify_pool(request: PoolRequest) -> PoolIdentity:
    """Open the inputs of a collateral run and name it.

    Raises:
        UnknownRun: no margin run of that name, or of the claims' book, has been published.
        BookChanged: the book of the run is another one now.
        ClaimsMissing: there are no claims at the path.
        OfAnotherBook: the claims are of another book.
        UnknownRules: neither shipped rules nor a file.
        ModelNotApproved: the rules are not, and are not asked for all the same.
    """
    claims, store = Claims.open(request.claims), RunStore(request.runs)
    run = store.open(store.resolve(request.run, book=claims.book_digest))
    book = book_of(run)
    if claims.book_digest != book.digest:
        raise OfAnotherBook(
            f"claims {claims.name} are of the book with digest {claims.book_digest[:12]}, run "
            f"{run.run_id} is of book {book.name} with digest {book.digest[:12]}; give claims of "
            "that book"
        )
    named = load_rules(request.rules)
    require_approved(named.standing(book.as_of), unapproved=request.unapproved)
    key = text_digest(run.manifest["digest"], claims.digest, named.digest, code_version())
    name = f"{book.name}-{book.as_of:%Y%m%d}-pool-{key[:12]}"
    return PoolIdentity(name, key, run, book, claims, named)


def pool_store(request: PoolRequest) -> RunStore:
    """Return where collateral runs are published."""
    return RunStore(request.pools, POOL)
