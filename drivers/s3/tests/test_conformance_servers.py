"""The S3 driver under the conformance kit, on servers beyond moto: what they can't do is theirs.

`POLYSTOW_S3_ENDPOINT` and `POLYSTOW_S3_BUCKET` name any other server, with credentials where
botocore finds them; the bucket is made if need be, and what the tests write below a prefix of
their own is deleted. `POLYSTOW_S3_SERVER=localstack`, or `radosgw`, declares what that one gets
wrong.
"""

import itertools
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, ClassVar, Literal
from uuid import uuid4

import pytest

from polystow import (
    CreateContainerOptions,
    DeleteContainerOptions,
    DeleteOptions,
    DriverContext,
    ListOptions,
    Secret,
    StorageDriver,
)
from polystow_s3 import SPEC, S3Config
from polystow_testing.conformance import (
    BARE,
    AdministrationConformance,
    DriverConformance,
    prefixed,
)
from polystow_testing.s3 import RcloneServer

MIB = 1_048_576
LANE: Literal["fast", "sdk"] = "sdk" if os.environ.get("POLYSTOW_S3_LANE") == "sdk" else "fast"
ENDPOINT = os.environ.get("POLYSTOW_S3_ENDPOINT")
BUCKET = os.environ.get("POLYSTOW_S3_BUCKET", "polystow-conformance")
REGION = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def of_cases(test: str, reason: str, *cases: str) -> dict[str, str]:
    return {f"{test}[{case}]": reason for case in cases} if cases else {test: reason}


_NAMES = "S3 sends metadata names as HTTP headers; what these can't carry is refused"
DRIVER = {
    **of_cases("test_odd_metadata_is_kept_as_it_was_given", _NAMES, "unicode_name",
               "space_in_name", "colon_in_name", "empty_name", "names_in_two_cases"),
    **of_cases("test_odd_metadata_is_kept_as_it_was_given", "S3 keeps names in lower case",
               "upper_case_name"),
}  # fmt: skip

_CONDITIONS = "rclone ignores If-Match and If-None-Match"
_LONG = "rclone's objects are files, whose names have at most 255 bytes"
_MTIME = "rclone puts an mtime of its own into the metadata of copies"
_DELIMITER = "rclone knows no delimiter but the slash"
_FORMS = "rclone takes the composed and the decomposed form of a character for the same"
_SUFFIX = "rclone refuses a suffix that is longer than the object"
_SIZE = "rclone counts names and its own headers into the 2 KB of metadata"
_NUMBERS = "rclone completes uploads whose parts are numbered without gaps alone"
_ENDED = "rclone forgets an upload that could not be completed"
_EXPIRES = "rclone keeps no Expires"
RCLONE = {
    **of_cases("test_one_of_many_creators_wins", _CONDITIONS),
    **of_cases("test_one_of_many_writers_with_the_same_entity_tag_wins", _CONDITIONS),
    **of_cases("test_a_create_only_write_leaves_what_is_there", _CONDITIONS),
    **of_cases("test_a_write_that_does_not_match_leaves_what_is_there", _CONDITIONS),
    **of_cases("test_nothing_matches_where_nothing_is", _CONDITIONS),
    **of_cases("test_an_odd_key_is_kept_to_the_byte", _LONG, "one_long_segment"),
    **of_cases("test_an_odd_key_is_kept_or_refused_unread", _LONG, "one_long_segment"),
    **of_cases("test_a_copy_has_content_type_and_metadata_of_its_source", _MTIME),
    **of_cases("test_a_copy_to_a_name_is_a_new_object_of_that_name", _MTIME),
    **of_cases("test_a_copy_overwrites_its_target", _MTIME),
    **of_cases("test_a_delimiter_folds_what_lies_below_it", _DELIMITER, "hyphen",
               "two_characters"),
    **of_cases("test_keys_that_look_alike_are_different_objects", _FORMS, "unicode_forms"),
    **of_cases("test_a_range_gives_its_bytes_and_no_others", _SUFFIX, "suffix_longer_than_all"),
    **of_cases("test_metadata_of_the_greatest_size_is_kept", _SIZE),
    **of_cases("test_create_only_counts_on_completion", _CONDITIONS),
    **of_cases("test_if_match_counts_on_completion", _CONDITIONS),
    **of_cases("test_parts_can_come_in_any_order_and_at_once", _NUMBERS),
    **of_cases("test_parts_that_are_not_there_complete_nothing", _ENDED, "not_there", "another"),
    **of_cases("test_headers_are_kept_with_the_object", _EXPIRES),
    **of_cases("test_headers_of_a_large_object_are_kept", _EXPIRES),
    **of_cases("test_a_copy_has_the_headers_of_its_source", _EXPIRES),
    **of_cases("test_one_header_is_kept_and_no_other_is_invented", _EXPIRES, "expires"),
    "test_a_part_takes_the_place_of_the_one_with_its_number": (
        "rclone writes the first parts away at once and replaces none of them"
    ),
    **of_cases(
        "test_setting_metadata_changes_nothing_else",
        "rclone keeps the checksum among the metadata, and drops it with them",
        "replace",
        "merge",
    ),
}  # fmt: skip

_FILES = "rclone's objects are files: it never answers a request for such a key"
_TIMING = "rclone overwrites a file in place: whether a reader sees that depends on the moment"
_MIXED = "rclone writes a file, then its metadata with the checksum: those of two writers may mix"
_ODD = ("leading_slash", "leading_slashes", "double_slash", "trailing_slash", "only_a_slash",
        "dot", "dot_segment", "leading_dot_segment", "trailing_dot_segment", "two_dots",
        "two_dots_segment", "leading_two_dots", "trailing_two_dots", "scheme")  # fmt: skip
RCLONE_NOT_RUN = {
    **of_cases("test_an_odd_key_is_kept_to_the_byte", _FILES, *_ODD),
    **of_cases("test_an_odd_key_is_kept_or_refused_unread", _FILES, *_ODD),
    **of_cases("test_keys_that_paths_would_join_are_different_objects", _FILES),
    **of_cases("test_a_signed_url_reads_without_credentials", _FILES, "slashes"),
    **of_cases("test_readers_see_an_object_whole_while_it_is_overwritten", _TIMING),
    **of_cases("test_writers_of_one_key_leave_one_whole_object", _MIXED),
    **of_cases("test_sequences_of_operations_give_what_the_model_gives", _CONDITIONS),
}

_TOKENS = "LocalStack fails with an InternalError where a page ends at a key beyond ASCII"
_WORDS = (
    "LocalStack decodes RFC 2047 words before it keeps them, and sends ASCII values as they are"
)
_WORD_CASES = ("spaces_around_value", "encoded_word_as_value")
_COPIED_EXPIRES = "LocalStack loses Expires where it copies"
LOCALSTACK = {
    **of_cases("test_a_copy_has_the_headers_of_its_source", _COPIED_EXPIRES),
    **of_cases("test_odd_metadata_is_kept_as_it_was_given", _WORDS, *_WORD_CASES),
    **of_cases("test_odd_metadata_keeps_its_values_or_is_refused", _WORDS, *_WORD_CASES),
    **of_cases("test_odd_metadata_is_set_or_refused_and_then_the_old_stays", _WORDS,
               *_WORD_CASES),
    **of_cases("test_a_delimiter_folds_what_lies_below_it", _TOKENS,
               *(f"{case}-{size}" for case in ("top", "hyphen") for size in (1, 2, 5))),
    **of_cases("test_start_after_leaves_out_that_key_and_all_before", _TOKENS),
    **of_cases("test_pages_together_have_every_key_once", _TOKENS, "1", "3", "18"),
}  # fmt: skip
LOCALSTACK["test_if_match_counts_on_completion"] = (
    "LocalStack refuses If-Match where the object was written after the upload began"
)
LOCALSTACK_NOT_RUN = of_cases("test_sequences_of_operations_give_what_the_model_gives", _TOKENS)

_TAGS = "radosgw 16 compares the If-Match of PutObject with its quotes, so that none matches"
_PARTS = "radosgw 16 ignores the conditions of CompleteMultipartUpload"
_UNDERSCORES = "radosgw keeps metadata names with hyphens for underscores"
_XML = "radosgw can't list keys that XML can't carry"
RADOSGW = {
    **of_cases("test_one_of_many_writers_with_the_same_entity_tag_wins", _TAGS),
    **of_cases("test_a_write_that_matches_replaces", _TAGS, "small"),
    **of_cases("test_a_create_only_write_leaves_what_is_there", _PARTS, "two_parts"),
    **of_cases("test_a_write_that_does_not_match_leaves_what_is_there", _PARTS, "two_parts"),
    **of_cases("test_odd_metadata_is_kept_as_it_was_given", _UNDERSCORES, "punctuation_in_name"),
    **of_cases("test_an_odd_key_is_kept_to_the_byte", _XML, "control_character", "not_in_xml"),
    **of_cases("test_a_version_that_is_none_is_refused",
               "radosgw deletes no version that is none, and says that it did", "delete"),
}  # fmt: skip
RADOSGW_NOT_RUN = of_cases("test_sequences_of_operations_give_what_the_model_gives", _TAGS)

ADMINISTRATION: Mapping[str, Mapping[str, str]] = {}
"""What they get wrong of administration."""

SERVERS = {
    "localstack": (LOCALSTACK, LOCALSTACK_NOT_RUN),
    "radosgw": (RADOSGW, RADOSGW_NOT_RUN),
}
"""By POLYSTOW_S3_SERVER."""


class S3Conformance(DriverConformance):
    """What all of them share."""

    wrappings = (BARE,)
    part_size_bytes = 5 * MIB
    listing_size = 1100  # more than one page

    def config(self, **options: Any) -> S3Config:
        return S3Config(
            lane=LANE,
            part_size_bytes=self.part_size_bytes,
            multipart_threshold_bytes=self.part_size_bytes,
            **options,
        )


@pytest.fixture(scope="module")
def rclone() -> Iterator[RcloneServer]:
    buckets = (f"conformance-{number}" for number in range(1000))
    with RcloneServer(buckets=tuple(buckets)) as server:
        yield server


class TestRclone(S3Conformance):
    deviations = DRIVER | RCLONE
    not_run = RCLONE_NOT_RUN
    _numbers = itertools.count()

    @pytest.fixture
    def container(self) -> str:
        return f"conformance-{next(self._numbers)}"

    @pytest.fixture
    async def driver(
        self, driver_context: DriverContext, rclone: RcloneServer, container: str
    ) -> AsyncGenerator[StorageDriver]:
        config = self.config(
            endpoint=rclone.endpoint,
            region="us-east-1",
            default_bucket=container,
            access_key_id=rclone.credentials.access_key_id,
            secret_access_key=Secret(rclone.credentials.secret_access_key),
            # A key that it never answers for is a failure and no long wait.
            pool_timeout_s=1.0,
            connect_timeout_s=1.0,
            read_timeout_s=10.0,
            without=("versions", "tags", "acl"),
        )
        async with SPEC.open(config, driver_context) as driver:
            yield driver


@pytest.fixture(scope="module")
def endpoint_bucket() -> str:
    import boto3

    client: Any = boto3.client("s3", endpoint_url=ENDPOINT, region_name=REGION)
    try:
        client.head_bucket(Bucket=BUCKET)
    except client.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=BUCKET)
    finally:
        client.close()
    return BUCKET


@pytest.mark.skipif(ENDPOINT is None, reason="POLYSTOW_S3_ENDPOINT is not set")
class TestEndpoint(S3Conformance):
    _known = SERVERS.get(os.environ.get("POLYSTOW_S3_SERVER", ""), ({}, {}))
    deviations: ClassVar[Mapping[str, str]] = {
        **DRIVER,
        **_known[0],
        "test_a_method_that_is_there_is_declared[append]": (
            "the prefix that keeps the tests apart has the methods of every capability"
        ),
    }
    not_run = _known[1]

    @pytest.fixture
    def container(self, endpoint_bucket: str) -> str:
        return endpoint_bucket

    @pytest.fixture
    def missing_container(self) -> str:
        return f"polystow-missing-{uuid4().hex}"

    @pytest.fixture
    async def driver(
        self, driver_context: DriverContext, container: str
    ) -> AsyncGenerator[StorageDriver]:
        config = self.config(endpoint=ENDPOINT, region=REGION, default_bucket=container)
        folder = f"polystow-conformance/{uuid4().hex}/"
        async with SPEC.open(config, driver_context) as driver:
            yield prefixed(driver, folder)
            await delete_all(driver, f"{container}/{folder}")


@pytest.mark.skipif(ENDPOINT is None, reason="POLYSTOW_S3_ENDPOINT is not set")
class TestEndpointAdministration(AdministrationConformance):
    """In buckets of its own, which it makes and deletes."""

    wrappings = (BARE,)
    deviations = ADMINISTRATION.get(os.environ.get("POLYSTOW_S3_SERVER", ""), {})

    @pytest.fixture
    def container(self) -> str:
        return f"polystow-{uuid4().hex[:16]}"

    @pytest.fixture
    def missing_container(self) -> str:
        return f"polystow-missing-{uuid4().hex}"

    @pytest.fixture
    async def driver(
        self, driver_context: DriverContext, container: str
    ) -> AsyncGenerator[StorageDriver]:
        config = S3Config(lane=LANE, endpoint=ENDPOINT, region=REGION, default_bucket=container)
        async with SPEC.open(config, driver_context) as driver:
            containers = driver.capabilities.containers
            assert containers is not None
            await containers.create_container(container, CreateContainerOptions())
            yield driver
            await containers.delete_container(container, DeleteContainerOptions(contents=True))


async def delete_all(driver: StorageDriver, folder: str) -> None:
    lister, deleter = driver.capabilities.list, driver.capabilities.delete_many
    assert lister is not None
    assert deleter is not None
    while (page := await lister.list_page(folder, ListOptions(), None)).items:
        result = await deleter.delete_many(tuple(item.path for item in page.items), DeleteOptions())
        assert not result.failed
