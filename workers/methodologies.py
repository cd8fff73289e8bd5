"""Find a methodology by name, among those that ship or in a file of the user's own."""

import re
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from risk.methodology import Methodology, parse_methodology
from risk.specification import read_toml
from storage.digest import text_digest
from storage.rule_text import read_rule_text
from workers.approval import ModelStanding, standing_of_model

if TYPE_CHECKING:
    from storage.runs import Run

EVENTS = "events-2026-01.toml"
DEFAULT_METHODOLOGY = "margincube-portfolio-2026-01"


class UnknownMethodology(ValueError):
    """No methodology of that name ships, and no such file exists."""


@dataclass(frozen=True, slots=True)
class NamedMethodology:
    """A methodology with the texts that it was read from, and their digest.

    ``in_file`` is the text as its file has it, before a margin mode was chosen for all accounts;
    ``own_events`` tells that its events are of another file than it was approved with.
    """

    methodology: Methodology
    text: str
    events: str
    in_file: str
    own_events: bool

    @property
    def digest(self) -> str:
        """The digest of both texts."""
        return text_digest(self.text, self.events)

    def standing(self, as_of: datetime) -> ModelStanding:
        """Return whether it is approved on a day, and why not."""
        measures = self.methodology.measures
        binding = any("event" in one.origins and one.layer is not None for one in measures)
        own = self.own_events and binding
        also = ("events of another file set a layer of it, and no approval is of them",) * own
        return standing_of_model(self.methodology, self.in_file, as_of, *also)


def shipped_methodologies() -> list[str]:
    """Return the names of the methodologies that come with the package.

    >>> "margincube-portfolio-2026-01" in shipped_methodologies()
    True
    """
    return sorted(_shipped())


def _shipped() -> dict[str, Traversable]:
    """Return the files that ship, by name, from the folder of rule books and those below it."""
    folder = resources.files("risk.methodologies")
    folders = (folder, *(folder / name for name in ("standard", "protocols", "sensitivities")))
    return {
        entry.name[:-5]: entry
        for one in folders
        for entry in one.iterdir()
        if entry.name.endswith(".toml") and not entry.name.startswith("events-")
    }


def ships(methodology: Methodology) -> bool:
    """Tell whether a methodology is one that ships, whichever events it reports.

    >>> rules = load_methodology("derive-pmrm-2-2025-04").methodology
    >>> ships(rules), ships(rules.model_copy(update={"venue": "another"}))
    (True, False)
    """
    binding = (one.origins for one in methodology.measures if one.layer is not None)
    reported = not any("event" in origins for origins in binding)
    # Whoever approved it, it is the same rule book.
    own: dict[str, object] = {"approval": methodology.approval}
    own |= {"events": methodology.events} if reported else {}
    events = (resources.files("risk.methodologies") / EVENTS).read_text()
    texts = (entry.read_text() for entry in _shipped().values())
    return any(
        parse_methodology(text, events).model_copy(update=own) == methodology
        for text in texts
        if f'name = "{methodology.name}"' in text
    )


NETTING = {"isolated": "position", "cross": "settlement_currency", "portfolio": "account"}
"""What nets in each margin mode, by its name."""


def load_methodology(
    name: str, events: str | None = None, netting: str | None = None
) -> NamedMethodology:
    """Read a methodology by the name it ships under, or from a TOML file.

    ``events`` names a file of hypothetical events to use instead of those that ship. ``netting``
    is a margin mode that all accounts are to have, whatever they chose.

    Raises:
        UnknownMethodology: neither a shipped name nor a file.
        ValueError: the text is not a valid methodology.
    """
    shipped = _shipped()
    if name in shipped:
        text = shipped[name].read_text()
    elif Path(name).is_file():
        text = read_rule_text(name)
    else:
        raise UnknownMethodology(
            f"no methodology {name!r}; shipped are {sorted(shipped)}, "
            "or give the path of a TOML file"
        )
    in_file, text = text, text if netting is None else with_netting(text, netting)
    event_text = (
        read_rule_text(events)
        if events
        else (resources.files("risk.methodologies") / EVENTS).read_text()
    )
    rules = parse_methodology(text, event_text)
    return NamedMethodology(rules, text, event_text, in_file, own_events=events is not None)


def methodology_of(run: "Run") -> Methodology:
    """Return the rules that a margin run was made by, as it recorded them."""
    rules = run.manifest["inputs"]["methodology"]
    return parse_methodology(rules["text"], rules["events"])


def with_netting(text: str, mode: str) -> str:
    """Return a methodology's text in which every account nets as in one margin mode.

    Raises:
        ValueError: there is no such mode.

    >>> load_methodology(DEFAULT_METHODOLOGY, netting="isolated").methodology.netting.portfolio
    'position'
    """
    if mode not in NETTING:
        raise ValueError(f"netting {mode!r} is unknown; use one of {[*NETTING]}")
    table = r"^[ \t]*\[[ \t]*netting[ \t]*\][^\n]*(?:\n(?![ \t]*\[)[^\n]*)*"
    without = re.sub(table, "", text, flags=re.MULTILINE)
    if "netting" in read_toml(without):
        raise ValueError("netting is not written as a table of its own; write it as [netting]")
    keys = "".join(f'{name} = "{NETTING[mode]}"\n' for name in NETTING)
    return f"{without.rstrip()}\n\n[netting]\n{keys}"
