"""A folder in a store that speaks S3: its address, and whole objects read and written.

The address is ``s3://bucket/prefix``. Where the store is, and who asks, is told by the variables
that every S3 client reads: ``AWS_ENDPOINT_URL``, ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, or a role of the machine. So an address may be
stored and shown, and each process that gets one uses its own credentials.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import icechunk
    from obstore.store import ClientConfig, S3Store

SCHEME = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*")

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?")

_CONNECT = timedelta(seconds=3)
_REQUEST = timedelta(seconds=10)
"""For what is small: a list, a lock. A store that takes longer has stalled."""
_DOWNLOAD = timedelta(minutes=5)
_RETRIES = 2
_REFUSALS = (
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
)


class BadAddress(ValueError):
    """A text that begins like the address of a folder in a store, and is none."""


class StoreUnavailable(OSError):
    """A store does not answer, refuses who asks, or has no such bucket."""


class Outrun(RuntimeError):
    """The object is no longer the one that was to be replaced: another writer came first."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was read; ``tag`` changes with its content, and ``written`` is in UTC."""

    content: bytes
    tag: str
    written: datetime


@dataclass(frozen=True, slots=True)
class S3Folder:
    """All objects of a bucket whose names begin with a prefix."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, address: str) -> "S3Folder":
        """Return the folder of an address.

        Raises:
            BadAddress: it does not name a bucket and a prefix of plain names, or more than them.

        >>> S3Folder.parse("s3://margin/runs/")
        S3Folder(bucket='margin', prefix='runs')
        """
        bucket, _, prefix = address.removeprefix(SCHEME).strip("/").partition("/")
        if "@" in address:
            # What is before the sign may be a password, so the address is not said again.
            raise BadAddress(
                "the s3:// address holds '@'; give s3://BUCKET/PREFIX, and credentials in "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if not _BUCKET.fullmatch(bucket) or not _PREFIX.fullmatch(prefix):
            raise BadAddress(
                f"{address!r} is no address of a folder; give s3://BUCKET/PREFIX with letters, "
                "digits, '.', '_', '=' and '-', no name beginning with '.'"
            )
        return cls(bucket, prefix)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"

    def __truediv__(self, name: str) -> "S3Folder":
        return S3Folder(self.bucket, f"{self.prefix}/{name}")

    def icechunk_storage(self) -> "icechunk.Storage":
        """Return the folder as the storage of a repository; no credentials travel with it."""
        import icechunk

        endpoint = _endpoint()
        return icechunk.s3_storage(
            bucket=self.bucket,
            prefix=self.prefix,
            region=_region(),
            endpoint_url=endpoint,
            allow_http=_plain(endpoint),
            # Only Amazon gives each bucket a host name of its own.
            force_path_style=endpoint is not None,
            from_env=True,
        )

    def sizes(self) -> dict[str, int]:
        """Return the names below the folder, with their sizes in bytes.

        Raises:
            StoreUnavailable: the store does not answer, or refuses.
        """
        import obstore

        with self._named_faults():
            listed = obstore.list(self._objects())
            return {one["path"]: one["size"] for batch in listed for one in batch}

    def require_answer(self) -> None:
        """Make sure that the store answers and lets us list the folder.

        Raises:
            StoreUnavailable: it does not; the message says which of them and what to do.
        """
        import obstore

        with self._named_faults():
            next(iter(obstore.list(self._objects(), chunk_size=1)), None)

    def read(self, name: str) -> StoredObject:
        """Return an object.

        Raises:
            FileNotFoundError: there is none of that name.
            StoreUnavailable: the store does not answer, or refuses.
        """
        import obstore

        with self._named_faults():
            found = obstore.get(self._objects(), name)
            meta = found.meta
            content = bytes(found.bytes())
        return StoredObject(content, str(meta["e_tag"]), meta["last_modified"])

    def download(self, name: str, target: Path) -> None:
        """Write an object to a file.

        Raises:
            FileNotFoundError: there is none of that name.
            StoreUnavailable: the store does not answer, or refuses.
        """
        import obstore

        with self._named_faults(), target.open("wb") as file:
            for piece in obstore.get(self._objects(_DOWNLOAD), name):
                file.write(piece)

    def write(self, name: str, content: bytes, *, replacing: str | None) -> str:
        """Write an object where none is, or over the one with the tag; return the new tag.

        Of writers who replace the same object, the store lets one through.

        Raises:
            Outrun: there is an object, or another one than that.
            StoreUnavailable: the store does not answer, or refuses.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._named_faults():
            try:
                written = obstore.put(
                    self._objects(),
                    name,
                    content,
                    mode="create" if replacing is None else {"e_tag": replacing},
                    use_multipart=False,
                )
            except (AlreadyExistsError, PreconditionError):
                raise Outrun(f"{self / name} was written by somebody else meanwhile") from None
        return str(written["e_tag"])

    def _objects(self, limit: timedelta | None = None) -> "S3Store":
        from obstore.store import S3Store

        endpoint = _endpoint()
        client: ClientConfig = {
            "allow_http": _plain(endpoint),
            "connect_timeout": _CONNECT,
            "timeout": limit or _REQUEST,
        }
        place: dict[str, Any] = {} if endpoint is None else {"endpoint": endpoint}
        return S3Store(
            self.bucket,
            prefix=self.prefix,
            region=_region(),
            client_options=client,
            retry_config={"max_retries": _RETRIES},
            **place,
        )

    @contextmanager
    def _named_faults(self) -> Iterator[None]:
        """Say in a sentence what a client says in pages, which repeat what the store answered."""
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as fault:
            if "NoSuchBucket" in str(fault):
                raise StoreUnavailable(self._sentence(str(fault))) from None
            raise FileNotFoundError(f"{self} lacks an object that is asked for") from None
        except BaseError as fault:
            raise StoreUnavailable(self._sentence(str(fault))) from None

    def _sentence(self, said: str) -> str:
        found = re.search(r"<Code>(\w+)</Code>", said)
        code = found[1] if found else ""
        endpoint = _endpoint()
        store = "S3" if endpoint is None else f"the store at {endpoint}"
        if code == "NoSuchBucket":
            return f"{store} has no bucket {self.bucket!r}; create it, or give another address"
        if "169.254.169.254" in said:
            return (
                f"no credentials to open {self} with; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY"
            )
        if code in _REFUSALS or re.search(r"status code: 40[13]", said):
            return (
                f"{store} refuses our credentials for {self} ({code or 'no reason given'}); check "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do with the bucket"
            )
        if code:
            return f"{store} refuses a request for {self} ({code}); check AWS_REGION and the bucket"
        return f"{store} does not answer for {self}; check AWS_ENDPOINT_URL and the network"


def located(place: str | Path | S3Folder) -> Path | S3Folder:
    """Return what a text names: a folder in a store if it begins with ``s3://``, else a path.

    Raises:
        BadAddress: it begins with ``s3://`` and is no address.
    """
    if isinstance(place, str) and place.startswith(SCHEME):
        return S3Folder.parse(place)
    return place if isinstance(place, S3Folder) else Path(place)


def _endpoint() -> str | None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if endpoint := os.environ.get(name):
            if not _ENDPOINT.fullmatch(endpoint):
                raise BadAddress(f"{name} is no address; set https://HOST or http://HOST:PORT")
            return endpoint
    return None


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _plain(endpoint: str | None) -> bool:
    return endpoint is not None and endpoint.startswith("http://")
