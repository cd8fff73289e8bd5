"""Margin of accounts, by whichever way a methodology takes to base risk."""

from risk.margin.accounts import margin_accounts
from risk.margin.changes import changed_accounts, changed_instruments
from risk.margin.inputs import Holdings, Portfolio, Revaluation
from risk.margin.measured import measures_of, stack_layers
from risk.margin.results import HELD, MARGINED, AccountMargin, BaseMargin

__all__ = [
    "HELD",
    "MARGINED",
    "AccountMargin",
    "BaseMargin",
    "Holdings",
    "Portfolio",
    "Revaluation",
    "changed_accounts",
    "changed_instruments",
    "margin_accounts",
    "measures_of",
    "stack_layers",
]
