"""The fast lane's signer: byte for byte botocore's, over keys, headers, queries and days."""

from hashlib import sha256
from typing import Any
from urllib.parse import quote

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from polystow_s3._lane._connection import Origin
from polystow_s3._lane._operations import OPERATIONS
from polystow_s3._lane._requests import Draft, Place, head_of, shape_of
from polystow_s3._lane._signer import UNSIGNED, Clock, Keys, Signer, Stamp, stamp_of

HOST = "127.0.0.1:9000"
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=30)
visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
names = st.from_regex(r"x-amz-[a-z0-9%-]{1,20}[a-z0-9]", fullmatch=True)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
stamps = st.integers(0, 4_000_000_000).map(stamp_of)


class PresetPayload(botocore.auth.S3SigV4Auth):  # type: ignore[misc]
    """botocore's own, told what the header x-amz-content-sha256 says."""

    digest = ""

    def payload(self, request: Any) -> str:
        return self.digest


def by_botocore(
    keys: Keys, method: str, path: str, query: str, headers: dict[str, str], payload: str,
    stamp: Stamp, region: str,
) -> tuple[str, dict[str, str]]:  # fmt: skip
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    auth = PresetPayload(credentials, "s3", region)
    auth.digest = payload
    url = f"http://{HOST}{path}?{query}" if query else f"http://{HOST}{path}"
    request = AWSRequest(method=method, url=url, headers=dict(headers))
    # What add_auth does, at a moment of the test's choice.
    request.context["timestamp"] = stamp.second
    auth._modify_request_before_signing(request)
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(to_sign, request))
    sent = {name.lower(): value for name, value in request.headers.items()}
    return sent.pop("authorization"), sent


@given(
    st.builds(Keys, visible, visible, st.none() | visible),
    st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    texts,
    st.dictionaries(texts.filter(bool), texts, max_size=4),
    st.dictionaries(names, values.map(lambda value: " ".join(value.split())), max_size=5),
    st.sampled_from([UNSIGNED, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", sha256(b"x").hexdigest()]),
    st.lists(stamps, min_size=1, max_size=3),
    st.sampled_from(["us-east-1", "eu-central-1", "ru-central1"]),
)
def test_a_signature_is_that_of_botocore(
    keys: Keys, method: str, key: str, parameters: dict[str, str], extra: dict[str, str],
    payload: str, moments: list[Stamp], region: str,
) -> None:  # fmt: skip
    path = f"/bucket/{quote(key, safe='/~')}"
    pairs = [(quote(name, safe="-._~"), quote(value, safe="-._~"))
             for name, value in parameters.items()]  # fmt: skip
    query = "&".join(f"{name}={value}" for name, value in sorted(pairs))
    signer = Signer(keys, region)
    for stamp in moments:  # one signer over several days
        expected, sent = by_botocore(keys, method, path, query, extra, payload, stamp, region)
        assert sent["x-amz-date"] == stamp.second
        sent["host"] = HOST
        shape = shape_of(tuple(sent))
        values = tuple(sent.values()) if shape.sort is None else shape.sort(tuple(sent.values()))
        canonical = f"{method}\n{path}\n{query}\n{shape.canonical % values}{payload}"
        made = signer.authorization(canonical, shape.names, stamp)
        assert made == expected


@given(
    st.none() | st.builds(Keys, visible, visible, st.none() | visible),
    st.dictionaries(
        st.sampled_from(["range", "if-match", "content-type", "x-amz-acl", "x-amz-meta-a%s"]),
        values.map(lambda value: " ".join(value.split())),
    ),
    st.sampled_from(["get_object", "put_object"]),
)
def test_every_header_is_sent_under_its_own_name(
    keys: Keys | None, headers: dict[str, str], method: str
) -> None:
    request = Draft(OPERATIONS[method], "b", "/k", "", headers, b"", None)
    place = Place(Origin("h", 80, tls=False), HOST, "/b", "us-east-1")
    signer = None if keys is None else Signer(keys, "us-east-1")
    stamp = stamp_of(1_369_353_600)
    head = head_of(request, place, signer, stamp, "agent", signs_body=True).decode()
    _, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    sent = dict(line.split(": ", 1) for line in lines)
    expected = {**headers, "host": HOST}
    if keys is not None:
        expected["x-amz-date"] = stamp.second
        expected["x-amz-content-sha256"] = sha256().hexdigest()
        if keys.session_token is not None:
            expected["x-amz-security-token"] = keys.session_token
    assert {name: sent[name] for name in expected} == expected
    assert ("authorization" in sent) == (keys is not None)


def test_the_example_of_the_reference_is_met() -> None:
    # API reference, "Signature Calculations for the Authorization Header", example GET Object.
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    payload = sha256().hexdigest()
    names = "host;range;x-amz-content-sha256;x-amz-date"
    canonical = (
        "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-9\n"
        f"x-amz-content-sha256:{payload}\nx-amz-date:20130524T000000Z\n\n{names}\n{payload}"
    )
    stamp = Stamp("20130524", "20130524T000000Z")
    made = Signer(keys, "us-east-1").authorization(canonical, names, stamp)
    assert made.endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_the_clock_is_the_one_that_it_is_given() -> None:
    assert Clock(lambda: 1_369_353_600.9).now() == Stamp("20130524", "20130524T000000Z")


def test_secrets_are_not_shown() -> None:
    shown = repr(Keys("id", "geheim", "token-geheim"))
    assert "id" in shown
    assert "geheim" not in shown
