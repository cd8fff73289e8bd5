"""Find a methodology by name, among those that ship or in a file of the user's own."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from risk.methodology import Methodology, parse_methodology
from storage.digest import text_digest

EVENTS = "events-2026-01.toml"
DEFAULT_METHODOLOGY = "margincube-portfolio-2026-01"


class UnknownMethodology(ValueError):
    """No methodology of that name ships, and no such file exists."""


@dataclass(frozen=True, slots=True)
class NamedMethodology:
    """A methodology with the texts that it was read from, and their digest."""

    methodology: Methodology
    text: str
    events: str

    @property
    def digest(self) -> str:
        """The digest of both texts."""
        return text_digest(self.text, self.events)


def shipped_methodologies() -> list[str]:
    """Return the names of the methodologies that come with the package.

    >>> "margincube-portfolio-2026-01" in shipped_methodologies()
    True
    """
    folder = resources.files("risk.methodologies")
    names = (entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return sorted(name[:-5] for name in names if not name.startswith("events-"))


def load_methodology(name: str, events: str | None = None) -> NamedMethodology:
    """Read a methodology by the name it ships under, or from a TOML file.

    ``events`` names a file of hypothetical events to use instead of those that ship.

    Raises:
        UnknownMethodology: neither a shipped name nor a file.
        ValueError: the text is not a valid methodology.
    """
    folder = resources.files("risk.methodologies")
    if name in shipped_methodologies():
        text = (folder / f"{name}.toml").read_text()
    elif Path(name).is_file():
        text = Path(name).read_text()
    else:
        raise UnknownMethodology(
            f"no methodology {name!r}; shipped are {shipped_methodologies()}, "
            "or give the path of a TOML file"
        )
    event_text = Path(events).read_text() if events else (folder / EVENTS).read_text()
    return NamedMethodology(parse_methodology(text, event_text), text, event_text)
