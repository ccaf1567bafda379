"""The S3 driver under the conformance kit, on moto; `POLYSTOW_S3_LANE` says which lane."""

import os
from collections.abc import AsyncGenerator, Mapping
from typing import ClassVar, Literal, override
from uuid import uuid4

import pytest

from polystow import DriverContext, Secret, StorageDriver
from polystow_s3 import SPEC, S3Config
from polystow_testing.conformance import DriverConformance, DriverStateMachine
from polystow_testing.s3 import MotoServer

MIB = 1_048_576
LANE: Literal["fast", "sdk"] = "sdk" if os.environ.get("POLYSTOW_S3_LANE") == "sdk" else "fast"
_NAMES = "S3 sends metadata names as HTTP headers; what these can't carry is refused"
_NEWLINE = "moto's routes match no key with a newline: it answers 404"


class OnMoto(DriverStateMachine):
    """moto leaves out a prefix with keys before and after the key that a listing starts after."""

    @override
    def may_list(self, delimiter: str | None, after: str | None) -> bool:
        return delimiter is None or after is None or delimiter not in after


class TestS3(DriverConformance):
    state_machine = OnMoto
    deviations: ClassVar[Mapping[str, str]] = {
        "test_odd_metadata_is_kept_as_it_was_given[upper_case_name]": (
            "S3 keeps names in lower case"
        ),
        **{
            f"test_odd_metadata_is_kept_as_it_was_given[{case}]": _NAMES
            for case in (
                "unicode_name", "space_in_name", "colon_in_name", "empty_name",
                "names_in_two_cases",
            )
        },
        "test_an_odd_key_is_kept_to_the_byte[newline]": _NEWLINE,
        "test_an_odd_key_is_kept_or_refused_unread[newline]": _NEWLINE,
        "test_odd_keys_are_deleted[newline]": _NEWLINE,
        "test_a_write_that_does_not_match_leaves_what_is_there[two_parts]": (
            "moto ignores If-Match of CompleteMultipartUpload"
        ),
        "test_if_match_counts_on_completion": (
            "moto ignores If-Match of CompleteMultipartUpload"
        ),
        "test_grants_of_an_object_are_kept_as_they_were_given": (
            "moto takes ready-made access to objects alone"
        ),
        "test_an_aborted_upload_can_not_be_completed": "moto answers 500",
        "test_a_version_that_is_none_is_refused[delete]": (
            "moto ignores version ids in buckets without versions"
        ),
    }  # fmt: skip
    part_size_bytes = 5 * MIB
    listing_size = 1100

    @pytest.fixture
    def container(self, moto_session: MotoServer) -> str:
        bucket = f"conformance-{uuid4().hex[:8]}"
        moto_session.create_bucket(bucket)
        return bucket

    @pytest.fixture
    async def driver(
        self, driver_context: DriverContext, moto_session: MotoServer, container: str
    ) -> AsyncGenerator[StorageDriver]:
        config = S3Config(
            endpoint=moto_session.endpoint,
            region="us-east-1",
            default_bucket=container,
            lane=LANE,
            access_key_id="key",
            secret_access_key=Secret("secret"),
            part_size_bytes=self.part_size_bytes,
            multipart_threshold_bytes=self.part_size_bytes,
        )
        async with SPEC.open(config, driver_context) as driver:
            yield driver
