"""The plan of a stress test, checked before an engine starts: refusals name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from flows.format import clipped

if TYPE_CHECKING:
    from workers.stress.request import StressIdentity, StressRequest

LONGEST = 60
"""Characters of a value in a refusal."""


class PlanRefused(ValueError):
    """A plan is not usable; of every field its file, its value and what is allowed."""


@contextmanager
def refusing(plan: str) -> Iterator[None]:
    """Name the file of a plan in what the body refuses of it.

    Raises:
        PlanRefused: the text is no plan, or asks for what a margin run does not have.
    """
    try:
        yield
    except ValidationError as error:
        found = error.errors()
        # A list whose parts are refused is refused once more as too short.
        inner = {one["loc"][:depth] for one in found for depth in range(1, len(one["loc"]))}
        lines = [f"{plan}: {_sentence(one)}" for one in found if one["loc"] not in inner]
        raise PlanRefused("\n".join(lines)) from None
    except ValueError as error:
        # Faults of other inputs have classes of their own.
        if type(error) is not ValueError or str(error).startswith(plan):
            raise
        raise PlanRefused(f"{plan}: {error}") from None


def require_plan(plan: str) -> None:
    """Read a plan by itself.

    Raises:
        UnknownPlan: neither a shipped name nor a file.
        PlanRefused: the text is no plan.
    """
    from workers.stress.request import load_plan

    with refusing(plan):
        load_plan(plan)


def require_plan_of(identity: "StressIdentity", request: "StressRequest") -> None:
    """Hold a plan against its margin run: scenarios, coins, members and issuers that it names.

    Raises:
        PlanRefused: the run does not have what the plan asks for.
    """
    from workers.memory import Limit, Room
    from workers.stress.work import plan_stress

    with refusing(request.plan):
        # Whether it fits into memory is asked where it runs.
        plan_stress(identity, request, [Room(Limit(1 << 62, "no machine"), 1)])


def _sentence(error: Any) -> str:
    """Return what a field is, and what is allowed."""
    field, kind, value = _field(error["loc"]), error["type"], error["input"]
    if kind == "missing":
        return f"{field} is missing; give it"
    if kind == "extra_forbidden":
        return f"{field} is no field of a plan; correct its name, or leave it out"
    said = error["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if kind == "value_error":
        return f"{field}: {said}" if field else said
    return f"{field} is {clipped(repr(value), LONGEST)}; {said}"


def _field(place: tuple[str | int, ...]) -> str:
    """Return where a field is; tables of the same name are counted from one.

    >>> _field(("layers", 1, "payer"))
    'layers number 2, payer'
    """
    words: list[str] = []
    for part in place:
        if isinstance(part, int) and words:
            words[-1] += f" number {part + 1}"
        else:
            words.append(str(part))
    return ", ".join(words)
