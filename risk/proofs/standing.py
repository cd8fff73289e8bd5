"""How well a claim is shown, and how well a pool asks each class of claims to be."""

from enum import IntEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from risk.specification import Name, Specification


class Standing(IntEnum):
    """How well a claim is shown, the best first."""

    PROVEN = 0
    ATTESTED = 1
    STATED = 2


def _by_name(given: Any) -> Any:
    """Return the standing that a rule file names."""
    names = [one.name.lower() for one in Standing]
    if isinstance(given, Standing):
        return given
    if given not in names:
        raise ValueError(f"{given!r} is no standing; allowed are {', '.join(names)}")
    return Standing[given.upper()]


NamedStanding = Annotated[Standing, BeforeValidator(_by_name)]


class StandingPolicy(Specification):
    """The standing that each class of claims needs at least; ``default`` where none is named.

    >>> policy = StandingPolicy(default="proven", classes={"cash": "attested"})
    >>> policy.admits("cash", Standing.ATTESTED), policy.admits("coin", Standing.ATTESTED)
    (True, False)
    """

    default: NamedStanding = Standing.PROVEN
    classes: dict[Name, NamedStanding] = Field(default_factory=dict)

    def needed(self, name: str) -> Standing:
        """Return the standing that a class needs at least."""
        return self.classes.get(name, self.default)

    def admits(self, name: str, standing: Standing) -> bool:
        """Tell whether a claim of a class, with this standing, counts."""
        return standing <= self.needed(name)
