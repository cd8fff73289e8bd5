"""Locks in an object store: one holder, no longer than it lives, and no writes by who lost it."""

import os
import time
from contextlib import ExitStack

import pytest

from storage import leases
from storage.leases import leased
from storage.locks import AlreadyLocked
from storage.objects import S3Folder


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
