"""The plan of a stress test: which scenarios, how accounts are liquidated, what selling does."""

import tomllib
from datetime import date
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from risk.scenarios.shocks import SHOCKS
from risk.specification import Name, NonNegative, Positive, Specification
from risk.systemic.cascade import LiquidationRules
from risk.systemic.impact import ImpactSpec
from risk.systemic.insulation import InsulationSpec
from risk.systemic.waterfall import LayerSpec, WaterfallSpec

RESOURCES = {
    "defaulter": ("default_fund",),
    "survivors": ("default_fund",),
    "venue": ("insurance_fund", "own_capital"),
    "winners": (),
}
"""What layers draw on, by who pays: contributions of members, and two amounts of the plan."""

Source = Annotated[str, Field(min_length=1)]


class MarketDepth(Specification):
    """How much of a coin changes hands: USD a day, and its daily volatility, a fraction."""

    coin: Annotated[str, Field(min_length=1)]
    daily_volume: Positive
    daily_volatility: Positive
    source: Source


class CascadeLimits(Specification):
    """How a shock arrives, and when a cascade ends.

    The moves of a scenario come in so many equal ``steps``, prices and volatilities in logarithms,
    with a round of selling after each; 1 is a jump. A cascade ends when all have come and less than
    ``least`` USD were sold in a round, or after ``rounds``.
    """

    steps: Annotated[int, Field(ge=1, le=100)] = 1
    rounds: Annotated[int, Field(ge=1, le=1000)]
    least: NonNegative

    @model_validator(mode="after")
    def _room_for_the_steps(self) -> "CascadeLimits":
        if self.rounds <= self.steps:
            raise ValueError(
                f"rounds is {self.rounds}, steps {self.steps}; a cascade needs more rounds than "
                "its shock has steps"
            )
        return self


class Severity(Specification):
    """Scenarios of the margin run once more, every shock times a number.

    Price falls are multiplied in logarithms, so that twice a fall of a half is one of three
    quarters; the name of each is that of the scenario with the number behind it.
    """

    of: Annotated[tuple[str, ...], Field(min_length=1)]
    times: Annotated[tuple[Positive, ...], Field(min_length=1)]


class StressScenario(Specification):
    """A scenario of the plan's own: shocks by coin, or by ``default`` for every other one."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    title: Annotated[str, Field(min_length=1)]
    shocks: dict[str, dict[str, float]]
    depth: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    source: Source

    @model_validator(mode="after")
    def _known(self) -> "StressScenario":
        unknown = sorted(set(self.shocks) - set(SHOCKS))
        if unknown:
            raise ValueError(
                f"scenario {self.name!r}: unknown shocks {unknown}; allowed are {list(SHOCKS)}"
            )
        for coin, move in self.shocks.get("price", {}).items():
            if move <= -1.0:
                raise ValueError(
                    f"scenario {self.name!r}: the price of {coin} moves by {move:g}; allowed is "
                    "above -1"
                )
        return self


class StressPlan(Specification):
    """The dated plan of a stress test.

    ``origins`` are those of the margin run's scenarios that are taken as they are. ``depth`` is the
    part of a coin's daily volume that is there under stress.
    ``layers`` bear what accounts and the vault lose beyond what accounts had, in their order.
    With ``insulation``, margin systems are compared under the same scenarios.
    """

    name: Name
    version: Annotated[str, Field(min_length=1)]
    effective: date
    title: Annotated[str, Field(min_length=1)]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    not_verified: tuple[str, ...] = ()
    origins: Annotated[tuple[str, ...], Field(min_length=1)]
    severities: tuple[Severity, ...] = ()
    scenarios: tuple[StressScenario, ...] = ()
    liquidation: LiquidationRules = LiquidationRules()
    impact: ImpactSpec
    depth: Annotated[float, Field(gt=0.0, le=1.0)]
    markets: Annotated[tuple[MarketDepth, ...], Field(min_length=1)]
    cascade: CascadeLimits
    own_capital: NonNegative = 0.0
    insurance_fund: NonNegative = 0.0
    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1)]
    insulation: InsulationSpec | None = None

    @property
    def waterfall(self) -> WaterfallSpec:
        """Return the layers as a waterfall."""
        return WaterfallSpec(
            name=self.name,
            effective=self.effective,
            title=self.title,
            sources=self.sources,
            layers=self.layers,
        )

    @model_validator(mode="after")
    def _layers_draw_on_what_there_is(self) -> "StressPlan":
        if [layer.payer for layer in self.waterfall.layers].count("defaulter") != 1:
            raise ValueError(
                "exactly one layer is paid by the 'defaulter', out of its contribution to the "
                "default fund; its margin is what its accounts have lost already"
            )
        for layer in self.layers:
            allowed = RESOURCES[layer.payer]
            if layer.capped and layer.amounts not in allowed:
                raise ValueError(
                    f"layer {layer.name!r} of {layer.payer!r} draws on {layer.amounts!r}; allowed "
                    f"is {list(allowed) or 'no cap'}"
                )
        return self

    @model_validator(mode="after")
    def _named_once(self) -> "StressPlan":
        for what, names in (
            ("market", sorted(one.coin for one in self.markets)),
            ("scenario", sorted(one.name for one in self.scenarios)),
        ):
            for one, other in pairwise(names):
                if one == other:
                    raise ValueError(f"{what} {one!r} is named twice; name it once")
        return self


def parse_stress_plan(text: str) -> StressPlan:
    """Return the plan that a TOML text describes.

    Raises:
        ValueError: the text is not TOML, or a field is missing, misspelt or out of its range.
    """
    return StressPlan.model_validate(tomllib.loads(text))
