"""A methodology: which scenarios, which netting, which measures, which layers, as frozen data."""

from datetime import date
from itertools import groupby, pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from risk.approval import Approval
from risk.charges import ChargeSpec
from risk.collateral import HAIRCUT_LAYER, CollateralRule
from risk.health import HealthSpec
from risk.measures import CONVENTIONS, require_inverted_cdf
from risk.model_risk import ModelRiskSpec
from risk.revaluation import VolatilityTenor
from risk.scan.specification import ScanSpec
from risk.scenarios.specification import EventSpec, GridSpec, HistoricalSpec, StressedSpec
from risk.sensitivities.margin import LAYERS as GREEKS_LAYERS
from risk.sensitivities.specification import GreeksSpec
from risk.specification import Fraction, Name, Positive, Specification, read_toml
from risk.standard.margin import LAYERS as STANDARD_LAYERS
from risk.standard.spec import StandardSpec
from risk.wrong_way import WRONG_WAY_LAYER, WrongWaySpec

Origin = Literal["historical", "episode", "stressed", "grid", "event"]


class MeasureSpec(Specification):
    """One measure over the scenarios of some origins.

    A measure with a ``layer`` sets that layer: the layer is the amount by which the measure
    exceeds every measure before it. Measures of one layer are added, each times its ``weight``.
    A measure without a layer is only reported.

    With an ``age_decay`` historical scenarios count by age, those of a day earlier that part of
    those of a day later (Boudoukh, Richardson, Whitelaw 1998).
    """

    name: str
    kind: Literal["worst_loss", "value_at_risk", "expected_shortfall"]
    origins: tuple[Origin, ...]
    level: Annotated[float, Field(ge=0.0)] = 0.0
    convention: str = "inverted_cdf"
    layer: Name | None = None
    weight: Positive | None = None
    age_decay: Annotated[float, Field(gt=0.0, le=1.0)] | None = None

    @model_validator(mode="after")
    def _quantile_is_one(self) -> "MeasureSpec":
        if self.convention not in CONVENTIONS:
            raise ValueError(
                f"{self.name}: unknown quantile convention {self.convention!r}; "
                f"use one of {[*CONVENTIONS]}"
            )
        if self.kind != "worst_loss" and not 0.0 < self.level < 1.0:
            hint = f"; did you mean {self.level / 100:g}?" if 1.0 < self.level < 100.0 else ""
            raise ValueError(f"LEVEL_RANGE: {self.name} level {self.level:g} not in (0, 1){hint}")
        if self.weight is not None and self.layer is None:
            raise ValueError(f"{self.name}: weight {self.weight:g} is of a layer; name the layer")
        if self.age_decay is not None:
            if self.kind == "worst_loss" or self.origins != ("historical",):
                raise ValueError(
                    f"{self.name}: age_decay is of a value_at_risk or expected_shortfall over "
                    f"historical scenarios; this is a {self.kind} over {list(self.origins)}"
                )
            require_inverted_cdf(self.convention)
        return self


class BufferSpec(Specification):
    """A share of all layers before it, held on top against margin that rises when markets fall.

    Source: Regulation (EU) 153/2013, Article 28 (1) (a): a buffer of at least 25 % of margin.
    """

    layer: Name
    initial: Fraction
    maintenance: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> "BufferSpec":
        if self.maintenance > self.initial:
            raise ValueError(
                f"layer {self.layer!r}: maintenance {self.maintenance:g} is above initial "
                f"{self.initial:g}; what is asked to hold is never above what is asked to open"
            )
        return self


class Netting(Specification):
    """For each margin mode, the positions of an account whose gains and losses offset."""

    isolated: Literal["position", "settlement_currency", "account"] = "position"
    cross: Literal["position", "settlement_currency", "account"] = "settlement_currency"
    portfolio: Literal["position", "settlement_currency", "account"] = "account"


class VolatilityTenorSpec(Specification):
    """How a volatility shock at the reference tenor carries to other tenors."""

    reference_days: Annotated[float, Field(gt=0.0, le=3_650.0)]
    short_power: Fraction
    long_power: Fraction
    floor_days: Positive
    minimum_volatility: Fraction

    def tenor(self) -> VolatilityTenor:
        """Return it in the form that revaluation takes."""
        return VolatilityTenor(**self.model_dump())


class Methodology(Specification):
    """A dated margin methodology; the whole of what makes one run's rules differ from another's.

    Base risk comes from one of four ways: ``measures`` of named scenario sets, a ``scan`` of
    weighted scenarios, ``standard`` rules by leg, or ``sensitivities``; ``wrong_way``,
    ``model_risk``, ``charges`` and ``buffers`` are stacked on it, in this order. Rules for
    ``collateral`` add what its assets do not count for, which nothing is stacked on.
    ``maintenance_factor`` is the part of the layers of measures or sensitivities that an account
    must hold to keep its positions; ``health`` says when it is warned, called and liquidated.
    ``approval`` says who lets it be used, and until when.
    ``venue`` names whose number this is, and only where every parameter is known:
    ``not_verified`` says which are not, and then there is no venue.
    """

    name: Name
    version: Annotated[str, Field(min_length=1)]
    effective: date
    title: Annotated[str, Field(min_length=1)]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    venue: str | None = None
    not_verified: tuple[str, ...] = ()
    netting: Netting
    volatility_tenor: VolatilityTenorSpec
    historical: HistoricalSpec | None = None
    stressed: StressedSpec | None = None
    grid: GridSpec | None = None
    measures: tuple[MeasureSpec, ...] = ()
    maintenance_factor: Fraction | None = None
    scan: ScanSpec | None = None
    standard: StandardSpec | None = None
    sensitivities: GreeksSpec | None = None
    collateral: tuple[CollateralRule, ...] = ()
    wrong_way: WrongWaySpec | None = None
    model_risk: ModelRiskSpec | None = None
    charges: tuple[ChargeSpec, ...] = ()
    buffers: tuple[BufferSpec, ...] = ()
    health: HealthSpec = HealthSpec()
    approval: Approval | None = None
    events: tuple[EventSpec, ...] = ()

    @model_validator(mode="after")
    def _one_base(self) -> "Methodology":
        if self.scan is not None and self.measures:
            raise ValueError(
                f"measure {self.measures[0].name!r} stands beside a [scan], which reports its own "
                "worst loss alone; leave the measures out"
            )
        binding = any(measure.layer is not None for measure in self.measures)
        ways = {
            "[[measures]] with a layer": binding,
            "[scan]": self.scan is not None,
            "[standard]": self.standard is not None,
            "[sensitivities]": self.sensitivities is not None,
        }
        given = [name for name, there in ways.items() if there]
        if len(given) != 1:
            raise ValueError(
                f"base risk comes from one of {list(ways)}; this has {given or 'none of them'}"
            )
        factored = binding or self.sensitivities is not None
        if factored != (self.maintenance_factor is not None):
            raise ValueError(
                "maintenance_factor goes with measures or sensitivities, and they need it; "
                f"this has {given[0]} and {self.maintenance_factor}"
            )
        if self.wrong_way is not None and not binding:
            raise ValueError(
                "[wrong_way] moves the collateral in the scenarios of the measures that set base "
                f"risk; this has {given[0]}, leave [wrong_way] out"
            )
        if binding and self.measures[0].layer is None:
            first = self.measures[0].name
            raise ValueError(f"the first measure, {first!r}, sets the base and needs a layer")
        for measure in self.measures:
            for origin in measure.origins:
                table = "historical" if origin == "episode" else origin
                if origin != "event" and getattr(self, table) is None:
                    raise ValueError(
                        f"measure {measure.name!r} reads {origin} scenarios; give [{table}]"
                    )
        if self.stressed is not None and self.historical is None:
            raise ValueError("[stressed] takes its windows from [historical]; give both")
        return self

    @model_validator(mode="after")
    def _every_collateral_rule_can_match(self) -> "Methodology":
        for number, rule in enumerate(self.collateral):
            for before in self.collateral[:number]:
                here, there = set(rule.chains or ()), before.chains
                shadowed = there is None or (rule.chains is not None and here <= set(there))
                again = sorted(set(rule.assets) & set(before.assets))
                if again and shadowed:
                    raise ValueError(
                        f"collateral {again[0]!r} is named again where an earlier rule names it; "
                        "the first is always taken, so write it once"
                    )
        return self

    @model_validator(mode="after")
    def _models_are_of_one_measure(self) -> "Methodology":
        if self.model_risk is None:
            return self
        known = {measure.name: measure for measure in self.measures}
        missing = [name for name in self.model_risk.models if name not in known]
        if missing:
            raise ValueError(
                f"layer {self.model_risk.layer!r}: models {missing} are no measures of this "
                f"methodology; it has {[*known]}"
            )
        models = [known[name] for name in self.model_risk.models]
        kinds = {f"{one.kind} at {one.level:g}, {one.convention}" for one in models}
        if len(kinds) > 1 or models[0].kind == "worst_loss":
            raise ValueError(
                f"layer {self.model_risk.layer!r}: models must estimate one quantity, a value at "
                f"risk or an expected shortfall of one level; these are {sorted(kinds)}"
            )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "Methodology":
        names = [measure.name for measure in self.measures]
        if len(set(names)) < len(names):
            raise ValueError(f"measure names {names} must differ")
        for one, after in pairwise(self.measures):
            if None in (one.weight, after.weight) and one.layer == after.layer is not None:
                raise ValueError(
                    f"layer names must differ, or {one.name!r} and {after.name!r} each need a "
                    f"weight to be added up in layer {one.layer!r}"
                )
        layers = self.layers
        if len(set(layers)) < len(layers):
            raise ValueError(f"layer names {list(layers)} must differ")
        for number, charge in enumerate(self.charges):
            if charge in self.charges[:number]:
                raise ValueError(f"layer {charge.layer!r} has the same charge twice; write it once")
        for layer in self.charge_layers:
            if len({charge.role for charge in self.charges if charge.layer == layer}) > 1:
                raise ValueError(f"layer {layer!r} has charges of both roles; use one role a layer")
        if self.venue is not None and self.not_verified:
            raise ValueError(
                f"venue {self.venue!r} is claimed while {len(self.not_verified)} parameters are "
                "not verified; leave venue out, or verify them"
            )
        return self

    @property
    def base_layers(self) -> tuple[str, ...]:
        """Names of the layers before charges, in the order in which they are stacked."""
        if self.standard is not None:
            return STANDARD_LAYERS
        return (*self._risk_layers, *((WRONG_WAY_LAYER,) if self.wrong_way else ()))

    @property
    def _risk_layers(self) -> tuple[str, ...]:
        """Names of the layers that scenarios or sensitivities set."""
        if self.scan is not None:
            return (self.scan.layer,)
        if self.sensitivities is not None:
            return GREEKS_LAYERS
        return tuple(
            layer
            for layer, _ in groupby(measure.layer for measure in self.measures)
            if layer is not None
        )

    @property
    def charge_layers(self) -> tuple[str, ...]:
        """Names of the layers that charges set, in the order in which they are stacked."""
        return tuple(dict.fromkeys(charge.layer for charge in self.charges))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, in the order in which they are stacked."""
        buffers = (buffer.layer for buffer in self.buffers)
        models = () if self.model_risk is None else (self.model_risk.layer,)
        stacked = (*self.base_layers, *models, *self.charge_layers, *buffers)
        has_haircuts = not self.collateral or HAIRCUT_LAYER in stacked
        return stacked if has_haircuts else (*stacked, HAIRCUT_LAYER)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the risk measures that a run reports."""
        if self.scan is not None:
            return (self.scan.layer,)
        return tuple(measure.name for measure in self.measures)


def parse_methodology(text: str, events: str = "") -> Methodology:
    """Return the methodology that a TOML text describes, with the events of a second text.

    Raises:
        ValueError: the text is not TOML, or a field is missing, misspelt or out of its range.
    """
    document: dict[str, Any] = read_toml(text)
    listed = read_toml(events)
    if set(listed) - {"events"}:
        raise ValueError(
            f"events hold {sorted(set(listed) - {'events'})}; allowed is [[events]] alone"
        )
    document["events"] = [*document.get("events", []), *listed.get("events", [])]
    return Methodology.model_validate(_as_methodology(document))


OWN_FORMS = {"rules": "standard", "buckets": "sensitivities"}
"""Tables that a file of rules by leg, or of Greeks, has at its top, and what they describe."""

BESIDE = (
    "netting",
    "volatility_tenor",
    "collateral",
    "wrong_way",
    "charges",
    "buffers",
    "health",
    "approval",
)
"""What such a file may say beside its own tables, as every methodology may."""

REPORTING_TENOR = {
    "reference_days": 30.0,
    "short_power": 0.30,
    "long_power": 0.13,
    "floor_days": 1.0,
    "minimum_volatility": 0.05,
}
"""How events, which are only reported there, move volatilities where such a file is silent."""


def _as_methodology(document: dict[str, Any]) -> dict[str, Any]:
    """Return a rule book that is one table of rules, or of Greeks, as a methodology.

    Named events are reported beside its requirement.
    """
    if any(key in document for key in OWN_FORMS):
        for table in ("model_risk", "wrong_way"):
            if table in document:
                raise ValueError(f"[{table}] is of [[measures]], and this file has none")
    for key, table in OWN_FORMS.items():
        if table in document:
            raise ValueError(f"write the tables of [{table}] at the top of the file: [[{key}]] ...")
    chosen = next((table for key, table in OWN_FORMS.items() if key in document), None)
    if chosen is None:
        return document
    events = document.pop("events")
    beside = {name: document.pop(name) for name in BESIDE if name in document}
    if chosen == "sensitivities" and "maintenance_factor" in document:
        beside["maintenance_factor"] = document["maintenance_factor"]
    shared = ("name", "version", "effective", "title", "sources", "not_verified")
    return (
        {"netting": {}, "volatility_tenor": REPORTING_TENOR}
        | {name: document[name] for name in shared if name in document}
        | beside
        | {
            chosen: document,
            "measures": [{"name": "event_loss", "kind": "worst_loss", "origins": ["event"]}],
            "events": events,
        }
    )
