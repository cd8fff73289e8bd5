"""What a named kind of bad input is."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["quarantine", "refuse", "warn"]


@dataclass(frozen=True, slots=True)
class Code:
    """A named kind of bad input.

    ``quarantine`` sets the row aside and holds the accounts it belongs to, ``refuse`` stops the
    import with nothing written, ``warn`` records it and goes on.
    """

    name: str
    severity: Severity
    meaning: str
    allowed: str
    action: str
