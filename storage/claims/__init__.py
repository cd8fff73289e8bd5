"""Claims of the accounts of one book: written once and whole, read in blocks."""

from storage.claims.layout import (
    ClaimsDamaged,
    ClaimsError,
    ClaimsExist,
    ClaimsMissing,
    ClaimsRefused,
)
from storage.claims.reader import Claims, ClaimSlice
from storage.claims.references import NONE, References
from storage.claims.writer import ClaimsWriter

__all__ = [
    "NONE",
    "ClaimSlice",
    "Claims",
    "ClaimsDamaged",
    "ClaimsError",
    "ClaimsExist",
    "ClaimsMissing",
    "ClaimsRefused",
    "ClaimsWriter",
    "References",
]
