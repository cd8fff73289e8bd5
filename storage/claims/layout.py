"""Where the files of claims lie, and what can be wrong with them."""

from storage.dataset.kind import Kind


class ClaimsError(ValueError):
    """Something is wrong with claims; the message names it and says what to do."""


class ClaimsMissing(ClaimsError, FileNotFoundError):
    """There are no finished claims at the path."""


class ClaimsExist(ClaimsError, FileExistsError):
    """There are claims at the path already; they are never overwritten."""


class ClaimsDamaged(ClaimsError):
    """A file of the claims is missing, truncated or changed since it was written."""


class ClaimsRefused(ClaimsError):
    """What was given to the writer are no claims; the message starts with the fault's code."""


AS_SAID, JUDGED = "as said", "judged"
"""Where the standings of claims are from: from whoever wrote the claims, or from proofs."""

CLAIMS = Kind(
    noun="claims dataset",
    make="make one with `margincube claims generate` or import",
    cache="claims",
    format=1,
    error=ClaimsError,
    missing=ClaimsMissing,
    exists=ClaimsExist,
    damaged=ClaimsDamaged,
    refused=ClaimsRefused,
)
