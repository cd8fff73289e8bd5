"""A lock in an object store: a lease that its holder renews, and that others may take when it ends.

A store keeps no connection to who holds a lock, so that a process died shows by its silence alone.
What it does promise is that of two writes that replace one object, one is refused. Hence a holder
that was silent for too long, and was only slow, finds out at its next renewal; and it renews
before each commit. The commit itself replaces the tip of a branch under the same promise, so a
holder that is stopped between the two is refused there.
"""

import json
import os
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from storage.locks import AlreadyLocked
from storage.objects import Outrun, S3Folder, StoredObject, StoreUnavailable

LEASE_SECONDS = 30.0
"""Seconds without renewal after which others may take a lease; the clocks of nodes may be apart
by half of them without one being taken early."""

RENEWALS = 3
"""Renewals in the time of a lease."""


class Lease:
    """A lease that this process holds; made by ``leased``."""

    def __init__(self, folder: S3Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._id = uuid.uuid4().hex
        self._tag: str | None = None
        self._turn = threading.Lock()

    def take(self) -> None:
        """Hold it, where nobody does or whoever did was silent for too long.

        Raises:
            AlreadyLocked: another process holds it.
        """
        try:
            self._write(_holder())
            return
        except Outrun:
            found = self._folder.read(self._name)
        holder, left = _held(found)
        if holder and left > 0:
            raise AlreadyLocked(
                f"{self._folder / self._name} is held by {holder}; if that process is no more, its "
                f"lease ends in {left:.0f} s"
            )
        self._tag = found.tag
        try:
            self._write(_holder())
        except Outrun:
            raise AlreadyLocked(
                f"{self._folder / self._name} was just taken by another process"
            ) from None

    def renew(self) -> None:
        """Hold it anew.

        Raises:
            AlreadyLocked: another process took it.
        """
        self._replace(_holder())

    def release(self) -> None:
        """Leave it to others, unless one of them has it already."""
        self._replace("")

    def _replace(self, holder: str) -> None:
        with self._turn:
            try:
                self._write(holder)
            except Outrun:
                raise AlreadyLocked(
                    f"{self._folder / self._name} was taken by another process while this one was "
                    "silent; the other goes on from the last checkpoint"
                ) from None

    def _write(self, holder: str) -> None:
        """Write over what this lease was last known to be.

        Raises:
            Outrun: another process has written.
        """
        try:
            self._tag = self._folder.write(self._name, self._body(holder), replacing=self._tag)
        except Outrun:
            # By this very lease, it may be: a write whose answer was lost was made all the same.
            with suppress(FileNotFoundError):
                found = self._folder.read(self._name)
                if json.loads(found.content).get("lease") == self._id:
                    body = self._body(holder)
                    self._tag = self._folder.write(self._name, body, replacing=found.tag)
                    return
            raise

    def _body(self, holder: str) -> bytes:
        # The tag of an object is a digest of its content: no two writes may be of the same.
        write = uuid.uuid4().hex
        return json.dumps({"holder": holder, "lease": self._id, "write": write}).encode()


@contextmanager
def leased(folder: S3Folder, name: str) -> Iterator[Lease]:
    """Hold an object as a lock; a process that ends without release holds it 30 seconds more.

    Raises:
        AlreadyLocked: another process holds it.
    """
    lease = Lease(folder, name)
    lease.take()
    over = threading.Event()
    renewing = threading.Thread(target=_keep, args=(lease, over), daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        over.set()
        renewing.join()
        # A process that is ending has stopped the other thread, which may be in a renewal for good.
        if not sys.is_finalizing():
            # Where it is another's, or will end by itself, what was done under it stays done.
            with suppress(AlreadyLocked, StoreUnavailable):
                lease.release()


def is_leased(folder: S3Folder, name: str) -> bool:
    """Tell whether another process holds an object as a lock."""
    try:
        holder, left = _held(folder.read(name))
    except FileNotFoundError:
        return False
    return bool(holder) and left > 0


def _held(found: StoredObject) -> tuple[str, float]:
    """Return who holds a lease, if anybody, and the seconds that are left of it."""
    left = LEASE_SECONDS - (datetime.now(UTC) - found.written).total_seconds()
    return json.loads(found.content)["holder"], left


def _keep(lease: Lease, over: threading.Event) -> None:
    while not over.wait(LEASE_SECONDS / RENEWALS):
        try:
            lease.renew()
        except AlreadyLocked:
            return
        except StoreUnavailable:
            # The next turn may reach it; if none does, a commit will say so.
            continue


def _holder() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
