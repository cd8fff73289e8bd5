"""Standard margin: a requirement leg by leg, by rule, without scenarios.

A rule book is a ``StandardSpec`` read from a dated TOML file; ``standard_terms`` turns it into
what each instrument asks per contract, once for a run, and ``margin_positions`` adds up accounts.
"""

from risk.standard.margin import LAYERS, StandardMargin, margin_positions, standard_margin
from risk.standard.options import inverse_payoff
from risk.standard.settlement import settling_forward, settling_market
from risk.standard.spec import StandardSpec, parse_standard
from risk.standard.terms import Feeds, StandardTerms, standard_terms

__all__ = [
    "LAYERS",
    "Feeds",
    "StandardMargin",
    "StandardSpec",
    "StandardTerms",
    "inverse_payoff",
    "margin_positions",
    "parse_standard",
    "settling_forward",
    "settling_market",
    "standard_margin",
    "standard_terms",
]
