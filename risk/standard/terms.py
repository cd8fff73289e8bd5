"""What a rule book asks of one contract of every instrument: worked out once for a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, Kind, MarketState, unit_notional
from risk.standard.kernel import COLUMNS, Column, Form
from risk.standard.options import short_option
from risk.standard.spec import (
    KINDS,
    SETTLEMENTS,
    BracketRule,
    FractionRule,
    HaircutRule,
    OptionRule,
    StandardSpec,
    WeightRule,
)
from risk.standard.weighted import fill_weights, initial_share, notional_and_coins
from risk.weights import Weights, no_weights

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

NO_RULE = -1
_BRACKET_FIELDS = 4


@dataclass(frozen=True, slots=True)
class Feeds:
    """How sure the feeds are, and what the stable coin is worth.

    ``confidence`` ``(instrument,)`` is in 0..1, for each instrument the least of the feeds its
    price depends on: index and perpetual; or index, forward and the volatilities of the expiry.
    ``stable_price`` is USD for one coin.
    """

    confidence: Floats
    stable_price: float = 1.0


@dataclass(frozen=True, slots=True)
class StandardTerms:
    """Everything the kernel reads of the instruments; in the reporting currency, per contract.

    ``form`` ``(instrument,)`` says how a position is margined, ``Form.NONE`` not at all: no
    rule fits, or there is no price. ``group`` numbers the options that are relieved together,
    -1 for none. ``unit`` is ``(instrument, column)``, see ``Column``. ``bracket`` is
    ``(instrument, 2)``, a range of rows of ``brackets`` ``(row, 4)``: floor, initial and
    maintenance share, deduction. ``choice`` marks rules that are not the venue's. ``weights`` are
    those of the instruments of ``Form.WEIGHTED``, none where there are no such.
    """

    form: NDArray[np.int8]
    group: NDArray[np.int32]
    unit: Floats
    bracket: NDArray[np.int32]
    brackets: Floats
    choice: NDArray[np.bool_]
    weights: Weights | None = None


def standard_terms(
    instruments: Instruments,
    market: MarketState,
    value_per_contract: Floats,
    spec: StandardSpec,
    *,
    underlyings: Sequence[str] = (),
    feeds: Feeds | None = None,
) -> StandardTerms:
    """Return what a rule book asks of one contract of every instrument.

    ``value_per_contract`` ``(instrument,)`` is the mark, as ``risk.revaluation.contract_value``;
    ``underlyings`` names the rows of the market's index, and may be left out where no rule names
    a coin. Without ``feeds`` every price is certain and the stable coin is worth its peg.

    Raises:
        ValueError: a rule names coins and ``underlyings`` is empty, a price that is needed is not
            above zero, an option has a negative mark, or a confidence is not in 0..1.
    """
    rule_of = match_rules(instruments, spec, underlyings)
    rule_of = np.where(market.priced, rule_of, NO_RULE)
    _check(instruments, market, value_per_contract, rule_of)
    size = len(instruments)
    form = np.full(size, Form.NONE, dtype=np.int8)
    unit = np.zeros((size, COLUMNS))
    bracket = np.zeros((size, 2), dtype=np.int32)
    brackets: list[tuple[float, float, float, float]] = []
    choice = np.zeros(size, dtype=np.bool_)
    weights: Weights | None = None
    for number, rule in enumerate(spec.rules):
        rows = np.flatnonzero(rule_of == number)
        choice[rows] = rule.choice
        first = len(brackets)
        if isinstance(rule, OptionRule):
            form[rows] = Form.OPTION
            _fill_options(unit, rows, rule, instruments, market, value_per_contract)
        elif isinstance(rule, HaircutRule):
            form[rows] = Form.SPOT
            value = np.abs(value_per_contract[rows])
            unit[rows, Column.INITIAL] = value * (1.0 - rule.factor * rule.initial_scale)
            unit[rows, Column.MAINTENANCE] = value * (1.0 - rule.factor)
        elif isinstance(rule, WeightRule) or (isinstance(rule, FractionRule) and rule.size_factor):
            form[rows] = Form.WEIGHTED
            weights = weights or no_weights(size)
            fill_weights(weights, rows, rule, instruments, market)
        else:
            form[rows] = Form.FUTURE
            brackets += _bracket_table(rule)
            _fill_futures(unit, rows, rule, instruments, market)
        bracket[rows] = (first, len(brackets))
    _fill_charges(unit, form, instruments, market, spec, feeds)
    return StandardTerms(
        form=form,
        group=_relief_groups(instruments, spec, rule_of),
        unit=unit,
        bracket=bracket,
        brackets=np.array(brackets, dtype=np.float64).reshape(-1, _BRACKET_FIELDS),
        choice=choice,
        weights=weights,
    )


def match_rules(
    instruments: Instruments, spec: StandardSpec, underlyings: Sequence[str]
) -> NDArray[np.int64]:
    """Return the first rule that fits each instrument, ``(instrument,)``, -1 where none does.

    Raises:
        ValueError: a rule names coins and ``underlyings`` is empty.
    """
    if spec.underlyings and not len(underlyings):
        raise ValueError(
            f"{spec.name}: rules name {list(spec.underlyings)}; pass the names of the market's "
            "underlyings"
        )
    found = np.full(len(instruments), NO_RULE, dtype=np.int64)
    for number in reversed(range(len(spec.rules))):
        rule = spec.rules[number]
        fits = instruments.kind == KINDS.index(rule.kind)
        if rule.settlement is not None:
            fits &= instruments.settlement == SETTLEMENTS.index(rule.settlement)
        if rule.underlyings is not None:
            named = [row for row, coin in enumerate(underlyings) if coin in rule.underlyings]
            fits &= np.isin(instruments.underlying, named)
        found[fits] = number
    return found


def _fill_options(
    unit: Floats,
    rows: Rows,
    rule: OptionRule,
    instruments: Instruments,
    market: MarketState,
    value_per_contract: Floats,
) -> None:
    terms = instruments.take(rows)
    notional = unit_notional(terms, market.index)
    reference = market.index[terms.underlying]
    if rule.moneyness == "forward":
        reference = market.forward[rows]
    initial, maintenance = short_option(
        rule, notional, value_per_contract[rows], reference, terms.strike, terms.is_call
    )
    unit[rows, Column.INITIAL] = initial
    unit[rows, Column.MAINTENANCE] = maintenance
    unit[rows, Column.VALUE] = value_per_contract[rows]
    unit[rows, Column.STRIKE] = terms.strike
    unit[rows, Column.CONTRACT] = np.where(terms.is_call, terms.multiplier, -terms.multiplier)
    naked = np.where(terms.is_call, terms.multiplier * market.forward[rows], 0.0)
    unit[rows, Column.UNPAIRED_INITIAL] = naked * (rule.unpaired_call_initial or 0.0)
    unit[rows, Column.UNPAIRED_MAINTENANCE] = naked * (rule.unpaired_call_maintenance or 0.0)


def _fill_futures(
    unit: Floats,
    rows: Rows,
    rule: FractionRule | BracketRule,
    instruments: Instruments,
    market: MarketState,
) -> None:
    """Fill notional and growth."""
    notional, coins = notional_and_coins(rows, rule.price, instruments, market)
    unit[rows, Column.NOTIONAL] = notional
    if isinstance(rule, FractionRule):
        unit[rows, Column.INITIAL] = rule.initial_per_coin * coins
        unit[rows, Column.MAINTENANCE] = rule.maintenance_per_coin * coins


def _bracket_table(rule: FractionRule | BracketRule) -> list[tuple[float, float, float, float]]:
    if isinstance(rule, FractionRule):
        return [(0.0, initial_share(rule), rule.maintenance, 0.0)]
    return [(b.floor, b.initial, b.maintenance, b.deduction) for b in rule.brackets]


def _fill_charges(
    unit: Floats,
    form: NDArray[np.int8],
    instruments: Instruments,
    market: MarketState,
    spec: StandardSpec,
    feeds: Feeds | None,
) -> None:
    """Fill the charges for doubtful prices and a lost peg, none without feeds."""
    if feeds is None:
        return
    doubted = feeds.confidence.shape == form.shape
    if not doubted or not ((feeds.confidence >= 0.0) & (feeds.confidence <= 1.0)).all():
        raise ValueError(
            f"feeds.confidence has shape {feeds.confidence.shape} and values outside 0..1 or not "
            f"one for each of {len(form)} instruments"
        )
    margined = form != Form.NONE
    notional = np.zeros(len(form))
    rows = np.flatnonzero(margined)
    notional[rows] = unit_notional(instruments.take(rows), market.index)
    two_sided = form != Form.OPTION
    if spec.oracle_confidence is not None:
        rule = spec.oracle_confidence
        unsure = feeds.confidence < rule.threshold
        charge = np.where(unsure, (1.0 - feeds.confidence) * rule.factor * notional, 0.0)
        unit[:, Column.ORACLE_SHORT] = charge
        unit[:, Column.ORACLE_LONG] = np.where(two_sided, charge, 0.0)
    if spec.depeg is not None:
        lost = max(spec.depeg.threshold - feeds.stable_price, 0.0) * spec.depeg.factor
        charge = np.where(form == Form.SPOT, 0.0, lost * notional)
        unit[:, Column.DEPEG_SHORT] = charge
        unit[:, Column.DEPEG_LONG] = np.where(two_sided, charge, 0.0)


def _relief_groups(
    instruments: Instruments, spec: StandardSpec, rule_of: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Number the options relieved together: one underlying, one expiry, one paying currency.

    Numbered as they first appear, so that positions in canonical order are nearly in order.
    """
    relieved = [
        number
        for number, rule in enumerate(spec.rules)
        if isinstance(rule, OptionRule) and rule.relief == "maximum_loss"
    ]
    group = np.full(len(instruments), -1, dtype=np.int32)
    rows = np.flatnonzero(np.isin(rule_of, relieved))
    if len(rows):
        key = np.column_stack(
            [
                instruments.underlying[rows].astype(np.float64),
                instruments.settlement_underlying[rows].astype(np.float64),
                instruments.time_to_expiry[rows],
            ]
        )
        _, first, code = np.unique(key, axis=0, return_index=True, return_inverse=True)
        group[rows] = np.argsort(np.argsort(first))[code.reshape(-1)]
    return group


def _check(
    instruments: Instruments, market: MarketState, value: Floats, rule_of: NDArray[np.int64]
) -> None:
    """Refuse priced rows whose price or mark no formula here can use."""
    used = rule_of != NO_RULE
    option = instruments.kind == Kind.OPTION
    index = market.index[instruments.underlying] if len(market.index) else np.zeros(len(option))
    for name, values, wanted, allowed in (
        ("index", index, used, "above 0"),
        ("forward", market.forward, used & (instruments.kind != Kind.SPOT), "above 0"),
        ("value_per_contract", value, used & option, "0 or more"),
    ):
        enough = values >= 0.0 if allowed == "0 or more" else values > 0.0
        bad = np.flatnonzero(wanted & ~(enough & np.isfinite(values)))
        if len(bad):
            raise ValueError(
                f"{name} is {values[bad[0]]} at priced row {bad[0]} ({len(bad)} such rows); "
                f"allowed is a finite number {allowed}; mark the rows as not priced"
            )
