"""Where the files of a book lie, and what can be wrong with it."""

from storage.dataset.kind import Kind

INSTRUMENTS = "instruments.parquet"
MEMBERS = "members.parquet"
ASSETS = "assets.parquet"


class BookError(ValueError):
    """Something is wrong with a book; the message names it and says what to do."""


class BookMissing(BookError, FileNotFoundError):
    """There is no finished book at the path."""


class BookExists(BookError, FileExistsError):
    """There is a book at the path already; books are never overwritten."""


class BookDamaged(BookError):
    """A file of the book is missing, truncated or changed since it was written."""


class BookRefused(BookError):
    """What was given to the writer is no book; the message starts with the code of the fault."""


class AccountUnknown(KeyError):
    """The book has no account of that name."""

    def __str__(self) -> str:
        return str(self.args[0])


BOOK = Kind(
    noun="book",
    make="make one with `margincube book generate` or import",
    cache="books",
    format=1,
    error=BookError,
    missing=BookMissing,
    exists=BookExists,
    damaged=BookDamaged,
    refused=BookRefused,
)
