"""What margin is computed from: what accounts hold, and what each instrument does."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.charges import Charge
from risk.collateral import AssetHoldings
from risk.nesting import RiskOrder
from risk.offsets import chosen_rows
from risk.scan.prepared import PreparedScan
from risk.sensitivities.greeks import Sensitivities
from risk.sensitivities.specification import RiskFactors
from risk.standard.terms import StandardTerms
from risk.weights import Weights


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a run of accounts holds; positions sorted by account, then by instrument row.

    Shapes ``(account+1,)`` for ``offsets``, ``(position,)`` for ``instrument`` and ``quantity``
    (contracts, long positive), ``(account,)`` for the rest. ``collateral`` is what the collateral
    adds to equity, in reporting currency: its value after the haircuts of the book, or its whole
    value where the methodology has rules for collateral. ``assets`` is what it consists of, and
    may be left out where nothing but its value is known.
    """

    offsets: NDArray[np.int64]
    instrument: NDArray[np.int32]
    quantity: NDArray[np.float64]
    margin_mode: NDArray[np.int8]
    collateral: NDArray[np.float64]
    held: NDArray[np.bool_]
    assets: AssetHoldings | None = None

    def __len__(self) -> int:
        return len(self.held)

    def take(self, chosen: NDArray[np.int64]) -> "Holdings":
        """Return what some of the accounts hold."""
        offsets, rows = chosen_rows(self.offsets, chosen)
        return Holdings(
            offsets=offsets,
            instrument=self.instrument[rows],
            quantity=self.quantity[rows],
            margin_mode=self.margin_mode[chosen],
            collateral=self.collateral[chosen],
            held=self.held[chosen],
            assets=None if self.assets is None else self.assets.take(chosen),
        )


@dataclass(frozen=True, slots=True)
class Revaluation:
    """The cube and what else margin needs to know of each instrument.

    ``cube`` is ``(instrument, scenario)``, P&L of one contract, gain positive. ``value`` is
    ``(instrument,)``, what one contract is worth. ``settlement`` codes the settlement currency in
    canonical order. ``priced`` is false where an input was missing. ``weight`` is ``(scenario,)``.
    ``order`` and ``charges`` serve the charges of the methodology, ``scan`` its scan, ``standard``
    its rules by leg, ``sensitivities`` and ``factors`` its margin from Greeks, ``collateral``
    its weights of the assets, none where it has no rules for them. ``credit_moves`` is
    ``(asset, scenario)``, what a unit of each asset gains in what it counts for, for the wrong-way
    layer.
    """

    cube: NDArray[np.float64]
    weight: NDArray[np.float64]
    value: NDArray[np.float64]
    settlement: NDArray[np.int32]
    priced: NDArray[np.bool_]
    order: RiskOrder
    charges: tuple[Charge, ...] = ()
    scan: PreparedScan | None = None
    standard: StandardTerms | None = None
    sensitivities: Sensitivities | None = None
    factors: RiskFactors | None = None
    collateral: Weights | None = None
    credit_moves: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Portfolio:
    """The accounts that are margined: their positions, netting keys and equity."""

    offsets: NDArray[np.int64]
    instrument: NDArray[np.int32]
    quantity: NDArray[np.float64]
    key: NDArray[np.int8]
    equity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.equity)
