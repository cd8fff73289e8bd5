"""Whether the model of a run may be used, and what the run's manifest says of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from risk.approval import Approval, why_not_approved

GIVEN_ALIKE = ("netting", "events", "unapproved")
"""Settings of a run that change what its model says, or what it is held to."""


class ModelNotApproved(RuntimeError):
    """The model of a run is not approved on its day, and nobody asked for it all the same."""


class Model(Protocol):
    """A methodology, the rules of a pool or a stress plan."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def approval(self) -> Approval | None:
        """The approval that its file states."""


@dataclass(frozen=True, slots=True)
class ModelStanding:
    """A model and why it is not approved; ``missing`` is empty where it is."""

    model: str
    approval: Approval | None
    missing: tuple[str, ...]

    def as_manifest(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        stated = None if self.approval is None else self.approval.model_dump(mode="json")
        return {"model": self.model, "stated": stated, "missing": list(self.missing)}


def standing_of_model(model: Model, text: str, as_of: datetime, *also: str) -> ModelStanding:
    """Return whether a model is approved on the day of a run; the clock has no part in it.

    ``text`` is what the file says; ``also`` are further reasons why its approval does not hold.
    """
    why = why_not_approved(model.approval, text, as_of.date())
    named = f"{model.name} {model.version}"
    reasons = tuple(f"{named}: {one}" for one in (*((why,) if why else ()), *also))
    return ModelStanding(named, model.approval, reasons)


def require_approved(standing: ModelStanding, *, unapproved: bool) -> None:
    """Refuse a model that is not approved, unless it is asked for all the same.

    Raises:
        ModelNotApproved: it is not, and ``unapproved`` is false.
    """
    if standing.missing and not unapproved:
        raise ModelNotApproved(
            f"MODEL_NOT_APPROVED: {'; '.join(standing.missing)}. Allowed is a model whose approval "
            "is of this very content and lasts beyond the day of the run: have its owner approve "
            "it with `margincube approve FILE`, or run it with --unapproved, which every page of "
            "the run will say"
        )


def accountability(
    standing: ModelStanding,
    settings: Mapping[str, str],
    reason: str | None,
    rests_on: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a manifest says of who let a run be made, against what, and why.

    ``rests_on`` is the manifest of the margin run that another run is made from: what is missing
    there is missing here.
    """
    stated = standing.as_manifest()
    below = {} if rests_on is None else rests_on.get("approval") or {}
    stated["missing"] += [one for one in below.get("missing", []) if one not in stated["missing"]]
    overrides = {
        name: settings[name]
        for name in GIVEN_ALIKE
        if settings.get(name) not in (None, "None", "False")
        and (name != "unapproved" or standing.missing)
    }
    return {"approval": stated, "overrides": overrides, "reason": reason}
