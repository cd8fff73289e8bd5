"""Locks in an object store: one holder, no longer than it lives, and no writes by who lost it."""

import os
import time
from contextlib import ExitStack

import pytest

from storage import leases
from storage.leases import leased
from storage.locks import AlreadyLocked
from storage.objects import S3Folder, StoreUnavailable


@pytest.fixture
def folder(bucket):
    return S3Folder(bucket, "locks")


def test_one_holds_it_until_it_is_released(folder):
    with leased(folder, "run"):
        with (
            pytest.raises(AlreadyLocked, match=rf"locks/run is held by process {os.getpid()} on"),
            leased(folder, "run"),
        ):
            pass
        with leased(folder, "other"):
            pass
    with leased(folder, "run"):
        pass


def test_a_fault_releases_it(folder):
    with pytest.raises(ZeroDivisionError), leased(folder, "run"):
        raise ZeroDivisionError
    with leased(folder, "run"):
        pass


def test_who_lives_holds_it_for_longer_than_its_term(folder, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 2.0)
    with leased(folder, "run"):
        time.sleep(3.5)
        with pytest.raises(AlreadyLocked, match="is held by"), leased(folder, "run"):
            pass


def test_who_was_silent_loses_it_and_learns_of_it(folder, monkeypatch):
    with ExitStack() as later:
        with leased(folder, "run") as slow:
            slow.renew()
            with monkeypatch.context() as patched:
                patched.setattr(leases, "LEASE_SECONDS", 0.0)
                quick = later.enter_context(leased(folder, "run"))
            with pytest.raises(AlreadyLocked, match="was taken by another process"):
                slow.renew()
            quick.renew()
        # Leaving it does not free what is another's now.
        with pytest.raises(AlreadyLocked, match="is held by"), leased(folder, "run"):
            pass
    with leased(folder, "run"):
        pass


@pytest.fixture
def lost(monkeypatch):
    """Return a function after which one write is made, and its answer lost or its client's try."""
    write = S3Folder.write

    def lose(tries):
        def once(folder, name, content, *, replacing):
            monkeypatch.setattr(S3Folder, "write", write)
            for _ in range(tries):
                write(folder, name, content, replacing=replacing)
            raise StoreUnavailable("the answer came too late")

        monkeypatch.setattr(S3Folder, "write", once)

    return lose


def test_a_renewal_whose_answer_was_lost_is_no_other_process(folder, lost):
    with leased(folder, "run") as lease:
        lost(1)
        with pytest.raises(StoreUnavailable):
            lease.renew()
        lease.renew()
        lease.renew()
        with pytest.raises(AlreadyLocked, match="is held by"), leased(folder, "run"):
            pass
    with leased(folder, "run"):
        pass


def test_a_lease_whose_answer_was_lost_and_asked_for_again_is_held(folder, lost):
    """A client tries a write again of itself, and is refused by what it wrote."""
    lost(2)
    with leased(folder, "run") as lease:
        lease.renew()
    with leased(folder, "run"):
        pass
