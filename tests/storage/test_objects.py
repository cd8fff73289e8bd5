"""Folders in an object store: addresses, conditional writes, and faults that end in a sentence."""

import json
import pickle
import time
from pathlib import Path

import boto3
import icechunk
import pytest

from storage import repository
from storage.objects import BadAddress, Outrun, S3Folder, StoreUnavailable, located
from storage.runs import RunStore
from tests.s3 import s3_server, set_s3_environment


@pytest.fixture
def folder(bucket):
    return S3Folder(bucket, "one/two")


def test_an_address_is_a_bucket_and_a_prefix():
    folder = located("s3://margin/runs/of/2026/")
    assert folder == S3Folder("margin", "runs/of/2026")
    assert str(folder / "x") == "s3://margin/runs/of/2026/x"
    assert located(str(folder)) == located(folder) == folder
    assert located("margin/runs") == located(Path("margin/runs")) == Path("margin/runs")


@pytest.mark.parametrize(
    "address",
    [
        *("s3://", "s3://margin", "s3:///x", "s3://m/x", "s3://Margin/x", "s3://margin/a b"),
        *("s3://margin/../x", "s3://margin/a//b", "s3://margin/x?y=z", "s3://margin/.x"),
    ],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(BadAddress, match="give s3://BUCKET/PREFIX"):
        located(address)


def test_an_address_with_credentials_is_refused_and_not_repeated():
    with pytest.raises(BadAddress, match="AWS_SECRET_ACCESS_KEY") as caught:
        located("s3://AKIA123:hidden@margin/runs")
    assert "hidden" not in str(caught.value)


def test_what_is_written_is_read_below_the_folder_alone(folder):
    folder.write("a/b", b"content", replacing=None)
    (folder / "a").write("c", b"", replacing=None)
    assert folder.read("a/b").content == b"content"
    assert folder.sizes() == {"a/b": 7, "a/c": 0}
    assert S3Folder(folder.bucket, "one/tw").sizes() == {}
    with pytest.raises(FileNotFoundError, match=r"s3://.*/one/two lacks"):
        folder.read("a")


def test_of_two_who_replace_an_object_one_is_refused(folder):
    first = folder.write("lock", b"1", replacing=None)
    with pytest.raises(Outrun, match="one/two/lock was written by somebody else"):
        folder.write("lock", b"2", replacing=None)
    assert folder.read("lock").tag == first
    folder.write("lock", b"3", replacing=first)
    with pytest.raises(Outrun):
        folder.write("lock", b"4", replacing=first)
    assert folder.read("lock").content == b"3"


def test_no_credentials_travel_with_what_workers_are_sent(bucket):
    store = RunStore(S3Folder(bucket, "runs"))
    session = store._repository.writable_session("main")
    sent = pickle.dumps(session.fork())
    assert bucket.encode() in sent
    assert b"of a test" not in sent


def assert_quickly_unavailable(folder, sentence):
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=sentence) as caught:
        RunStore(folder)
    assert time.monotonic() - started < 20
    assert "\n" not in str(caught.value)
    assert "of a test" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_bucket_that_is_not_there(bucket):
    assert_quickly_unavailable(S3Folder("no-such-bucket", "x"), "has no bucket 'no-such-bucket'")


def test_a_store_that_does_not_answer(folder, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert_quickly_unavailable(folder, "http://127.0.0.1:9 does not answer.*AWS_ENDPOINT_URL")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "https://me:hidden@host", "ftp://host"])
def test_an_endpoint_that_is_no_address(folder, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(BadAddress, match="AWS_ENDPOINT_URL is no address") as caught:
        RunStore(folder)
    assert "hidden" not in str(caught.value)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that knows one user, and lets in nobody else; its address, and the user's key."""
    folder = tmp_path_factory.mktemp("guarded")
    with s3_server(folder, INITIAL_NO_AUTH_ACTION_COUNT="4") as endpoint:
        given = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        given |= {"aws_access_key_id": "anybody", "aws_secret_access_key": "anything"}
        users = boto3.client("iam", **given)
        users.create_user(UserName="margin")
        key = users.create_access_key(UserName="margin")["AccessKey"]
        rule = {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::open*"}
        users.put_user_policy(
            UserName="margin",
            PolicyName="runs",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [rule]}),
        )
        boto3.client("s3", **given).create_bucket(Bucket="open-to-margin")
        yield endpoint, key["AccessKeyId"], key["SecretAccessKey"]


def test_wrong_credentials(guarded, monkeypatch):
    endpoint, key, secret = guarded
    folder = S3Folder("open-to-margin", "runs")
    set_s3_environment(monkeypatch, endpoint, key, secret)
    assert RunStore(folder).manifests() == []
    set_s3_environment(monkeypatch, endpoint, "key of a test", secret)
    assert_quickly_unavailable(
        folder, r"refuses our credentials for s3://open-to-margin/runs \(Inv"
    )
    set_s3_environment(monkeypatch, endpoint, key, "secret of a test")
    assert_quickly_unavailable(folder, r"refuses our credentials .*SignatureDoesNotMatch")
    set_s3_environment(monkeypatch, endpoint, key, secret)
    assert_quickly_unavailable(S3Folder("shut-to-margin", "x"), r"\(AccessDenied\)")


def test_a_store_that_lists_and_lets_nobody_write(folder, monkeypatch):
    def refused(_storage):
        raise icechunk.IcechunkError("  x service error\n  | pages of it")

    monkeypatch.setattr(icechunk.Repository, "open_or_create", refused)
    monkeypatch.setattr(repository, "CREATION_SECONDS", 0.0)
    assert_quickly_unavailable(folder, r"can be listed, but no repository .*: service error; check")
