"""Claims of the accounts of one book: written once and whole, read in blocks."""

from storage.claims.layout import (
    AS_SAID,
    JUDGED,
    ClaimsDamaged,
    ClaimsError,
    ClaimsExist,
    ClaimsMissing,
    ClaimsRefused,
)
from storage.claims.reader import Claims, ClaimSlice
from storage.claims.references import References
from storage.claims.writer import ClaimsWriter
from storage.tables import NONE

__all__ = [
    "AS_SAID",
    "JUDGED",
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
