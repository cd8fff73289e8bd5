"""A standard margin rule book as frozen data: one rule for each kind of instrument."""

import itertools
from datetime import date
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from risk.approval import Approval
from risk.specification import Fraction, NonNegative, Positive, Specification, read_toml
from risk.weights import LiabilityPair, TotalValue, WeightPair

KINDS = ("spot", "future", "perpetual", "option")
SETTLEMENTS = ("linear", "inverse", "quanto")

PriceOf = Literal["mark", "index"]
_ROUNDING = 1e-9  # of the notional at which a bracket begins


class _Rule(Specification):
    """Which instruments a rule is for, and who says so.

    A rule without ``settlement`` is for every settlement, one without ``underlyings`` for every
    coin. ``choice`` marks constants that are ours and not the venue's.
    """

    settlement: Literal["linear", "inverse", "quanto"] | None = None
    underlyings: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    source: Annotated[str, Field(min_length=1)]
    choice: bool = False


def _require_ordered(initial: float, maintenance: float) -> None:
    if maintenance > initial:
        raise ValueError(
            f"maintenance {maintenance:g} is above initial {initial:g}; what is asked to hold is "
            "never above what is asked to open"
        )


class OptionRule(_Rule):
    """A short option: a share of the index less how far it is out of the money, plus its mark.

    With S the index, V the mark and otm how far out of the money as a fraction of ``moneyness``:

    - initial = max(initial_maximum - otm, initial_minimum) S + V, and no less than
      ``call_``/``put_initial_over_maintenance`` times the maintenance margin;
    - maintenance = max(maintenance S, maintenance_of_mark V) + liquidation_fee S + V.

    A long option needs nothing. ``relief`` of ``maximum_loss`` lets the options of an expiry be
    margined together: see ``MaximumLoss``.
    """

    kind: Literal["option"]
    form: Literal["out_of_the_money"]
    moneyness: Literal["index", "forward"]
    initial_maximum: Fraction
    initial_minimum: Fraction
    call_maintenance: Fraction
    put_maintenance: Fraction
    call_maintenance_of_mark: Fraction = 0.0
    put_maintenance_of_mark: Fraction = 0.0
    liquidation_fee: Fraction = 0.0
    call_initial_over_maintenance: NonNegative = 0.0
    put_initial_over_maintenance: NonNegative = 0.0
    relief: Literal["none", "maximum_loss"] = "none"
    unpaired_call_initial: NonNegative | None = None
    unpaired_call_maintenance: NonNegative | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "OptionRule":
        if self.initial_minimum > self.initial_maximum:
            raise ValueError(
                f"initial_minimum {self.initial_minimum:g} is above initial_maximum "
                f"{self.initial_maximum:g}; it is what remains far out of the money"
            )
        unpaired = (self.unpaired_call_initial, self.unpaired_call_maintenance)
        relieved = self.relief == "maximum_loss"
        if relieved and (None in unpaired or self.settlement != "linear"):
            raise ValueError(
                "relief 'maximum_loss' needs settlement = 'linear', unpaired_call_initial and "
                f"unpaired_call_maintenance; got {self.settlement!r} and {unpaired}"
            )
        if not relieved and unpaired != (None, None):
            raise ValueError(
                "unpaired_call_* belong to relief = 'maximum_loss'; this rule has relief 'none'"
            )
        return self


class OpenInterest(Specification):
    """The initial share grows with the open interest of a market, all in the reporting currency.

    Linear from the share itself at ``lower_cap`` to one at ``upper_cap``, in whole millionths; an
    ``upper_cap`` of 0 says that it does not grow. Source: dYdX v4, ``risk.protocols.dydx``.
    """

    value: NonNegative
    lower_cap: NonNegative
    upper_cap: NonNegative

    @model_validator(mode="after")
    def _rises(self) -> "OpenInterest":
        if self.lower_cap > self.upper_cap:
            raise ValueError(
                f"open interest caps are {self.lower_cap:g} and {self.upper_cap:g}; lower_cap is "
                "never above upper_cap"
            )
        return self


class FractionRule(_Rule):
    """A future: a share of the notional, growing with the coins in the position.

    requirement = notional (share + share_per_coin coins), notional at the contract's own mark or
    at the index. With a ``size_factor`` the share is max(share, 0.8 share + factor √coins), as at
    Drift; with ``open_interest`` the initial share is the scaled one.
    """

    kind: Literal["future", "perpetual"]
    form: Literal["fraction"]
    price: PriceOf
    initial: Fraction
    maintenance: Fraction
    initial_per_coin: NonNegative = 0.0
    maintenance_per_coin: NonNegative = 0.0
    size_factor: NonNegative = 0.0
    open_interest: OpenInterest | None = None

    @model_validator(mode="after")
    def _grows_one_way(self) -> "FractionRule":
        _require_ordered(self.initial, self.maintenance)
        _require_ordered(self.initial_per_coin, self.maintenance_per_coin)
        if self.size_factor and (self.initial_per_coin or self.maintenance_per_coin):
            raise ValueError(
                f"size_factor {self.size_factor:g} stands beside initial_per_coin "
                f"{self.initial_per_coin:g} and maintenance_per_coin "
                f"{self.maintenance_per_coin:g}; a share grows with size in one way, leave one out"
            )
        return self


class Bracket(Specification):
    """Shares that hold from a notional on, in the reporting currency."""

    floor: NonNegative
    initial: Fraction
    maintenance: Fraction
    deduction: NonNegative = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> "Bracket":
        _require_ordered(self.initial, self.maintenance)
        return self


class BracketRule(_Rule):
    """A future: shares by the size of the position.

    initial = initial x notional and maintenance = maintenance x notional - deduction, all three
    of the last bracket whose floor the notional reaches.
    """

    kind: Literal["future", "perpetual"]
    form: Literal["brackets"]
    price: PriceOf
    brackets: Annotated[tuple[Bracket, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _climbs(self) -> "BracketRule":
        first = self.brackets[0]
        if first.floor or first.deduction:
            raise ValueError(
                f"the first bracket has floor {first.floor:g} and deduction {first.deduction:g}; "
                "both must be 0"
            )
        for low, high in itertools.pairwise(self.brackets):
            if high.floor <= low.floor:
                raise ValueError(f"bracket floor {high.floor:g} does not rise from {low.floor:g}")
            below = low.maintenance * high.floor - low.deduction
            above = high.maintenance * high.floor - high.deduction
            if above < below - _ROUNDING * high.floor:
                raise ValueError(
                    f"at notional {high.floor:g} maintenance falls from {below:g} to {above:g}; "
                    f"deduction {high.deduction:g} is too large, or a rate is wrong"
                )
        return self


class HaircutRule(_Rule):
    """A coin that is held: it counts for ``factor`` of its value, for ``initial_scale`` less.

    The requirement is the rest: value (1 - factor), for the initial margin
    value (1 - factor initial_scale).
    """

    kind: Literal["spot"]
    form: Literal["haircut"]
    factor: Fraction
    initial_scale: Fraction = 1.0


class WeightRule(_Rule):
    """A balance: what is held counts for less than its value, what is owed for more.

    With V the value of the balance, requirement = V (1 - weight) held and V (weight - 1) owed;
    a weight of 1 asks nothing. ``deposits`` and ``borrows`` scale the initial weights, and
    ``size_factor`` changes all of them with the coins of the balance: see ``risk.weights``.
    The same weights on a perpetual are on its notional, as at Mango.
    """

    kind: Literal["spot", "future", "perpetual"]
    form: Literal["weights"]
    held: WeightPair
    owed: LiabilityPair
    size_factor: NonNegative = 0.0
    deposits: TotalValue | None = None
    borrows: TotalValue | None = None
    price: PriceOf = "index"

    @model_validator(mode="after")
    def _of_a_balance(self) -> "WeightRule":
        if self.kind != "spot" and (self.size_factor or self.deposits or self.borrows):
            raise ValueError(
                f"size_factor, deposits and borrows are of balances of spot, this rule is for a "
                f"{self.kind}; use form 'fraction' for one that grows with size"
            )
        if self.kind == "spot" and self.price != "index":
            raise ValueError("price 'mark' is of futures and perpetuals; spot is at the index")
        return self


Rule: TypeAlias = Annotated[
    OptionRule | FractionRule | BracketRule | HaircutRule | WeightRule,
    Field(discriminator="form"),
]


class Confidence(Specification):
    """A charge where feeds are unsure of a price: initial margin only.

    (1 - confidence) factor S a coin wherever confidence is below ``threshold``, on short options,
    on both sides of futures and perpetuals, and on coins held.
    """

    threshold: Fraction
    factor: NonNegative


class Depeg(Specification):
    """A charge where the stable coin has lost its peg: initial margin only.

    max(threshold - price, 0) factor S a coin, on short options and both sides of futures.
    """

    threshold: Positive
    factor: NonNegative


class SettlementAverage(Specification):
    """Options settle to the average of the index over a window before expiry."""

    window_minutes: Positive


class StandardSpec(Specification):
    """A dated standard margin rule book.

    The first rule that fits an instrument is its rule; an instrument that none fits cannot be
    margined. ``venue_number`` says that the rules not marked ``choice`` are the venue's own,
    so that an account under those alone may be told its number is the venue's. ``protocol`` says
    that the venue judges accounts by a health of what is held and owed.
    """

    name: Annotated[str, Field(min_length=1)]
    version: str
    effective: date
    title: str
    venue: Annotated[str, Field(min_length=1)]
    venue_number: bool
    protocol: bool = False
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    not_verified: tuple[str, ...]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    oracle_confidence: Confidence | None = None
    depeg: Depeg | None = None
    settlement_average: SettlementAverage | None = None
    approval: Approval | None = None

    @model_validator(mode="after")
    def _honest(self) -> "StandardSpec":
        if self.venue_number and all(rule.choice for rule in self.rules):
            raise ValueError(
                f"venue_number is true, but every rule is marked as a choice, not {self.venue}'s"
            )
        if not self.venue_number and not self.not_verified:
            raise ValueError("venue_number is false: say in not_verified what stands against it")
        return self

    @property
    def underlyings(self) -> tuple[str, ...]:
        """Names of the coins that some rule names, in the order of the file."""
        named = (coin for rule in self.rules for coin in rule.underlyings or ())
        return tuple(dict.fromkeys(named))

    @property
    def label(self) -> str:
        """What a number of this rule book may be called."""
        what = f"{self.venue} {'health' if self.protocol else 'standard margin'}"
        if self.venue_number:
            return f"{what}, as of {self.effective}"
        return f"modelled on {what}; not the venue's number"


def parse_standard(text: str) -> StandardSpec:
    """Return the rule book that a TOML text describes.

    Raises:
        ValueError: the text is not TOML, or a field is missing, misspelt or out of its range.
    """
    return StandardSpec.model_validate(read_toml(text))
