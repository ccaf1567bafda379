"""`python -m polystow_testing.s3._serve_moto`: moto with authentication, until stdin closes.

It prints one line of JSON when it is ready, `{"endpoint": "…", "users": {"owner": ["key",
"secret"]}}`.
"""

# mypy: disable-error-code="import-untyped"
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import argparse
import http.client
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import boto3

from polystow_testing.s3._moto import MotoServer


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description="moto with authentication, until stdin closes.")
    parser.add_argument("--users", type=json.loads, default={}, help="names and their actions")
    parser.add_argument("--bucket", action="append", default=[], help="a bucket to begin with")
    arguments = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with MotoServer(buckets=tuple(arguments.bucket)) as server:
        users = _make_users(server.endpoint, arguments.users)
        _turn_authentication_on(server.endpoint)
        sys.stdout.write(json.dumps({"endpoint": server.endpoint, "users": users}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


def _make_users(endpoint: str, users: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[str, str]]:
    iam = cast("Any", boto3).client(
        "iam",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",  # noqa: S106 - nobody checks it yet
    )
    made: dict[str, tuple[str, str]] = {}
    for user, actions in users.items():
        iam.create_user(UserName=user)
        if actions:
            allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            iam.put_user_policy(UserName=user, PolicyName="policy", PolicyDocument=policy)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        made[user] = key["AccessKeyId"], key["SecretAccessKey"]
    iam.close()
    return made


def _turn_authentication_on(endpoint: str) -> None:
    # As the environment variable INITIAL_NO_AUTH_ACTION_COUNT=0, but after the users are made.
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    try:
        connection.request("POST", "/moto-api/reset-auth", b"0")
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"moto answers reset-auth with {answer.status}")


if __name__ == "__main__":
    main()
