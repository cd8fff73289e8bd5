"""Standard margin of accounts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.instruments import Instruments, MarketState
from risk.kernels.positions import read_only
from risk.standard.kernel import FUTURES, HAIRCUT, Form, margin_run
from risk.standard.spec import StandardSpec
from risk.standard.terms import Feeds, StandardTerms, standard_terms
from risk.summation import BlockMap, block_bounds, sum_by_group
from risk.weights import weighted_requirement

Floats = NDArray[np.float64]

LAYERS = (
    "options",
    "futures",
    "unpaired_calls",
    "collateral_haircut",
    "oracle_confidence",
    "depeg",
)
"""The layers of the initial margin, in the order of ``StandardMargin.layers``."""


@dataclass(frozen=True, slots=True)
class StandardMargin:
    """Standard margin of accounts, ``(account,)`` and reporting currency, requirements positive.

    ``layers`` ``(account, layer)`` are non-negative and sum to ``initial``. The requirement stands
    against the margin balance, which is equity without the value of options: the mark of a short
    option is inside its requirement, and a long option gives no credit. With equity the
    collateral plus the value of all positions, excess = equity - option_value - initial.

    ``held`` marks accounts with a position that has no price or no rule; their numbers are zero
    and mean nothing. ``by_choice`` marks accounts with a position under a rule that is not the
    venue's own.
    """

    initial: Floats
    maintenance: Floats
    layers: Floats
    option_value: Floats
    held: NDArray[np.bool_]
    by_choice: NDArray[np.bool_]


def standard_margin(
    offsets: NDArray[np.int64],
    instrument: NDArray[np.int32],
    quantity: Floats,
    instruments: Instruments,
    market: MarketState,
    value_per_contract: Floats,
    spec: StandardSpec,
    *,
    underlyings: Sequence[str] = (),
    feeds: Feeds | None = None,
    map_blocks: BlockMap = map,
) -> StandardMargin:
    """Return the standard margin of accounts under a rule book.

    Positions are ``(position,)``, ``offsets`` ``(account+1,)`` from accounts to positions,
    ``quantity`` contracts, long positive; the rest as ``standard_terms``. A run of many shards
    works out the terms once and calls ``margin_positions``.

    Raises:
        ValueError: as ``standard_terms`` and ``margin_positions``.
    """
    terms = standard_terms(
        instruments, market, value_per_contract, spec, underlyings=underlyings, feeds=feeds
    )
    return margin_positions(offsets, instrument, quantity, terms, map_blocks=map_blocks)


def margin_positions(
    offsets: NDArray[np.int64],
    instrument: NDArray[np.int32],
    quantity: Floats,
    terms: StandardTerms,
    *,
    map_blocks: BlockMap = map,
) -> StandardMargin:
    """Return the standard margin of accounts, given the terms of the instruments.

    ``map_blocks`` may be the ``map`` of a thread pool. The positions of an account may stand in
    any order; their sums are taken in that order.

    Raises:
        ValueError: offsets that do not climb from 0 to the number of positions, quantities that
            do not pair with instruments or are not finite, or an instrument that is no row of
            the terms.
    """
    _check(offsets, instrument, quantity, len(terms.form))
    accounts = len(offsets) - 1
    instrument = read_only(instrument, np.int32)
    quantity = read_only(quantity, np.float64)
    offsets = read_only(offsets, np.int64)
    table = _readable(terms)
    layers = np.zeros((accounts, len(LAYERS)))
    maintenance, option_value = np.zeros(accounts), np.zeros(accounts)
    held, by_choice = np.zeros(accounts, dtype=np.bool_), np.zeros(accounts, dtype=np.bool_)

    def one_block(bounds: tuple[int, int]) -> None:
        start, stop = bounds
        block = offsets[start : stop + 1]
        order = np.empty(int(np.diff(block).max(initial=0)), dtype=np.int64)
        margin_run(
            start, block, instrument, quantity, *table, order,
            layers, maintenance, option_value, held, by_choice,
        )  # fmt: skip
        rows = slice(block[0], block[-1])
        _add_weighted(
            terms, block, instrument[rows], quantity[rows], held[start:stop],
            layers[start:stop], maintenance[start:stop],
        )  # fmt: skip

    for _ in map_blocks(one_block, block_bounds(0, accounts) if accounts else []):
        pass
    return StandardMargin(
        initial=layers.sum(axis=1),
        maintenance=maintenance,
        layers=layers,
        option_value=option_value,
        held=held,
        by_choice=by_choice,
    )


def _add_weighted(
    terms: StandardTerms,
    offsets: NDArray[np.int64],
    instrument: NDArray[np.int32],
    quantity: Floats,
    held: NDArray[np.bool_],
    layers: Floats,
    maintenance: Floats,
) -> None:
    """Add what weighted positions ask to the layers and the maintenance of a block of accounts."""
    if terms.weights is None:
        return
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    chosen = np.flatnonzero((terms.form[instrument] == Form.WEIGHTED) & ~held[owner])
    row, owner = instrument[chosen], owner[chosen]
    initial, keep = weighted_requirement(row, quantity[chosen], terms.weights)
    margined = terms.weights.margined[row]
    for column, of_layer in ((FUTURES, margined), (HAIRCUT, ~margined)):
        layers[:, column] += sum_by_group(np.where(of_layer, initial, 0.0), owner, len(held))
    maintenance += sum_by_group(keep, owner, len(held))


def _readable(terms: StandardTerms) -> tuple[NDArray[np.generic], ...]:
    return (
        read_only(terms.form, np.int8),
        read_only(terms.group, np.int32),
        read_only(terms.unit, np.float64),
        read_only(terms.bracket, np.int32),
        read_only(terms.brackets, np.float64),
        read_only(terms.choice, np.bool_),
    )


def _check(
    offsets: NDArray[np.int64], instrument: NDArray[np.int32], quantity: Floats, instruments: int
) -> None:
    positions = len(instrument)
    if len(quantity) != positions:
        raise ValueError(f"{positions} instruments do not pair with {len(quantity)} quantities")
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != positions:
        raise ValueError(
            f"offsets must run from 0 to {positions}, got {offsets[:1]}..{offsets[-1:]}"
        )
    if (np.diff(offsets) < 0).any():
        row = int(np.flatnonzero(np.diff(offsets) < 0)[0])
        raise ValueError(f"offsets fall after account {row}: {offsets[row : row + 2].tolist()}")
    if positions and not (instrument.min() >= 0 and instrument.max() < instruments):
        raise ValueError(
            f"instruments {instrument.min()}..{instrument.max()} are not all rows of "
            f"{instruments} terms; positions and terms come from different books"
        )
    if not np.isfinite(quantity).all():
        row = int(np.flatnonzero(~np.isfinite(quantity))[0])
        raise ValueError(f"quantity is {quantity[row]} at position {row}; allowed is finite")
