"""The plan of a stress test: which scenarios, how accounts are liquidated, what selling does."""

from datetime import date
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from risk.approval import Approval
from risk.kernels.sums import LIMIT
from risk.scenarios.shocks import SHOCKS
from risk.specification import Name, NonNegative, Positive, Specification, read_toml
from risk.systemic.cascade import LiquidationRules
from risk.systemic.disruptions import ChainHalt, CollateralMove, OracleError
from risk.systemic.exposures import ContagionRules
from risk.systemic.impact import ImpactSpec
from risk.systemic.insulation import InsulationSpec
from risk.systemic.requirement import MaintenanceRules
from risk.systemic.waterfall import LayerSpec, WaterfallSpec
from risk.systemic.winners import DeleveragingRules

RESOURCES = {
    "defaulter": ("default_fund",),
    "survivors": ("default_fund",),
    "venue": ("insurance_fund", "own_capital"),
    "winners": ("deleveraging",),
}
"""What layers draw on, by who pays: contributions of members, two amounts of the plan, and what
winners gave up."""

Source = Annotated[str, Field(min_length=1)]
Volume = Annotated[float, Field(ge=1.0, le=1e15)]
Resource = Annotated[float, Field(ge=0.0, lt=LIMIT)]
"""Money of the venue: sums of cents stay exact below it."""
Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Words that a terminal prints as they are."""


class MarketDepth(Specification):
    """How much of a coin changes hands: USD a day, and its daily volatility, a fraction."""

    coin: Annotated[str, Field(min_length=1)]
    daily_volume: Volume
    daily_volatility: Annotated[float, Field(ge=1e-6, le=100.0)]
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


class Depths(Specification):
    """Scenarios once more, each at several depths: the same shock where less or more is there.

    ``of`` names scenarios of the margin run or of the plan, ``parts`` what is there of a coin's
    daily volume. The name of each is that of the scenario with its depth behind it.
    """

    of: Annotated[tuple[str, ...], Field(min_length=1)]
    parts: Annotated[tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...], Field(min_length=1)]


def at_depth(name: str, part: float) -> str:
    """Return the name of a scenario at another depth.

    >>> at_depth("half", 0.05)
    'half at depth 0.05'
    """
    return f"{name} at depth {part:g}"


class OwnerGroup(Specification):
    """Members under common ownership, on whatever venues and chains: Cover-n counts them as one."""

    owner: Annotated[str, Field(min_length=1)]
    members: Annotated[tuple[str, ...], Field(min_length=1)]


class StressScenario(Specification):
    """A scenario of the plan's own: shocks by coin, or by ``default`` for every other one.

    ``collateral``, ``oracle`` and ``halt`` are what it breaks beside.
    """

    name: Annotated[Text, Field(max_length=100)]
    title: Text
    shocks: dict[str, dict[str, float]]
    depth: Annotated[float, Field(ge=1e-9, le=1.0)] | None = None
    collateral: tuple[CollateralMove, ...] = ()
    oracle: OracleError | None = None
    halt: ChainHalt | None = None
    source: Source

    @property
    def breaks_something(self) -> bool:
        """Whether more happens than shocks."""
        return bool(self.collateral) or self.oracle is not None or self.halt is not None

    @property
    def broken(self) -> str:
        """What it breaks beside prices, in words.

        >>> fall = CollateralMove(assets=("USDC",), move=-0.12)
        >>> StressScenario(name="d", title="t", shocks={}, collateral=(fall,), source="s").broken
        'collateral (assets USDC) moves by -12 %'
        """
        said = [one.words for one in self.collateral]
        said += [one.words for one in (self.oracle, self.halt) if one is not None]
        return "; ".join(said)

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
    Members that ``owners`` do not name are their own.
    With ``insulation``, margin systems are compared under the same scenarios.
    ``contagion`` is what the network of members, venue and issuers assumes.
    ``maintenance`` says how it follows prices, and is that of the margin run where left out. With
    ``deleveraging`` winners close against what was taken over; a layer of theirs draws on it.
    """

    name: Name
    version: Annotated[str, Field(min_length=1)]
    effective: date
    title: Annotated[str, Field(min_length=1)]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    not_verified: tuple[str, ...] = ()
    origins: Annotated[tuple[str, ...], Field(min_length=1)]
    severities: tuple[Severity, ...] = ()
    depths: tuple[Depths, ...] = ()
    scenarios: tuple[StressScenario, ...] = ()
    liquidation: LiquidationRules = LiquidationRules()
    maintenance: MaintenanceRules | None = None
    deleveraging: DeleveragingRules | None = None
    impact: ImpactSpec
    depth: Annotated[float, Field(ge=1e-9, le=1.0)]
    markets: Annotated[tuple[MarketDepth, ...], Field(min_length=1)]
    cascade: CascadeLimits
    own_capital: Resource = 0.0
    insurance_fund: Resource = 0.0
    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1)]
    owners: tuple[OwnerGroup, ...] = ()
    insulation: InsulationSpec | None = None
    contagion: ContagionRules = ContagionRules()
    approval: Approval | None = None

    @property
    def taken_at_bankruptcy(self) -> bool:
        """Return whether accounts below the backstop are taken over with nothing left to them."""
        return self.deleveraging is not None and self.deleveraging.trigger == "at_backstop"

    def same_at_depths(self, name: str) -> tuple[str, ...]:
        """Return the name of a scenario, and its names at the other depths that it is taken at."""
        parts = [part for one in self.depths if name in one.of for part in one.parts]
        return name, *(at_depth(name, part) for part in parts)

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
                free = ", or no cap" if layer.payer == "winners" else ""
                raise ValueError(
                    f"layer {layer.name!r} of {layer.payer!r} draws on {layer.amounts!r}; allowed "
                    f"is {list(allowed)}{free}"
                )
        return self

    @model_validator(mode="after")
    def _deleveraging_has_a_book_and_a_layer(self) -> "StressPlan":
        drawing = [one.name for one in self.layers if one.capped and one.amounts == "deleveraging"]
        if self.deleveraging is None and drawing:
            raise ValueError(f"layer {drawing[0]!r} draws on 'deleveraging'; give [deleveraging]")
        if self.deleveraging is None:
            return self
        if len(drawing) != 1:
            raise ValueError(
                f"{len(drawing)} layers draw on 'deleveraging'; give one layer of 'winners' with "
                'resource = "deleveraging"'
            )
        if self.liquidation.backstop == 0.0:
            raise ValueError(
                "backstop is 0; deleveraging closes what is taken over below it: give one above 0"
            )
        return self

    @model_validator(mode="after")
    def _room_for_what_comes_back(self) -> "StressPlan":
        for one in self.scenarios:
            for broken in (one.oracle, one.halt):
                if broken is not None and broken.rounds >= self.cascade.rounds:
                    raise ValueError(
                        f"scenario {one.name!r} breaks something for {broken.rounds} rounds; a "
                        f"cascade has {self.cascade.rounds}, allowed is less"
                    )
        return self

    @model_validator(mode="after")
    def _named_once(self) -> "StressPlan":
        for what, names in (
            ("market", sorted(one.coin for one in self.markets)),
            ("scenario", sorted(one.name for one in self.scenarios)),
            ("owner", sorted(one.owner for one in self.owners)),
            ("member of an owner", sorted(name for one in self.owners for name in one.members)),
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
    return StressPlan.model_validate(read_toml(text))
