"""The kit fails for drivers that are wrong, each by a check whose name says what is wrong."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

BROKEN = Path(__file__).parent / "conformance_broken.py"

# Class in conformance_broken.py: the check that has to fail, alone or among others.
CAUGHT = {
    "TestForgetsAPage": "test_pages_together_have_every_key_once[asyncio-bare-3]",
    "TestCountsInsteadOfRememberingAPlace": (
        "test_a_listing_goes_on_when_the_last_listed_key_is_gone[asyncio-bare]"
    ),
    "TestSortsByUtf16": "test_a_listing_is_sorted_by_the_bytes_of_the_keys[asyncio-bare]",
    "TestTruncatesWrites": "test_every_size_of_body_arrives_whole[asyncio-bare-part_and_one-bytes]",
    "TestStoresBrokenBodies": (
        "test_a_body_of_another_length_than_declared_is_not_stored[asyncio-bare-too_short]"
    ),
    "TestRaisesAnotherClass": ("test_an_object_that_is_not_there_is_not_found[asyncio-bare-stat]"),
    "TestCallsItRetryable": "test_an_object_that_is_not_there_is_not_found[asyncio-bare-stat]",
    "TestNamesTheKeyOnly": "test_an_object_that_is_not_there_is_not_found[asyncio-composite-stat]",
    "TestDeclaresCreateOnlyAndOverwrites": (
        "test_a_create_only_write_leaves_what_is_there[asyncio-bare-bytes]"
    ),
    "TestAsksBeforeItCreates": "test_one_of_many_creators_wins[asyncio-bare]",
    "TestHasMethodsThatItDoesNotDeclare": (
        "test_a_method_that_is_there_is_declared[asyncio-bare-list]"
    ),
    "TestDeclaresAListThatItLacks": (
        "test_a_listing_is_sorted_by_the_bytes_of_the_keys[asyncio-bare]"
    ),
    "TestIgnoresConditionsThatItDeclares": (
        "test_a_write_that_does_not_match_leaves_what_is_there[asyncio-bare-bytes]"
    ),
    "TestSendsWhatIsKnownAlready": (
        "test_what_is_known_already_is_not_modified[asyncio-bare-none_match]"
    ),
    "TestForgetsHeaders": "test_headers_are_kept_with_the_object[asyncio-bare]",
    "TestLosesAppends": "test_no_append_of_many_at_once_is_lost[asyncio-bare]",
    "TestCutsAndNeverFills": "test_truncating_cuts_or_fills_with_zeros[asyncio-bare-longer]",
    "TestTakesPartsInAnyOrder": "test_parts_out_of_order_complete_nothing[asyncio-bare]",
    "TestKeepsAbortedUploads": (
        "test_an_aborted_upload_is_gone_and_can_be_aborted_again[asyncio-bare]"
    ),
    "TestNormalisesKeys": "test_an_odd_key_is_kept_to_the_byte[asyncio-bare-unicode_decomposed]",
    "TestGivesMoreThanWasAskedFor": (
        "test_receive_gives_at_most_what_was_asked_for[asyncio-bare-few]"
    ),
    "TestReadsPartsOfTwoContents": (
        "test_readers_see_an_object_whole_while_it_is_overwritten[asyncio-bare]"
    ),
    "TestTakesTheLastByteForTheFirstAfterwards": (
        "test_a_range_gives_its_bytes_and_no_others[asyncio-bare-middle]"
    ),
    "TestMergesInsteadOfReplacing": "test_replacing_drops_what_is_not_given[asyncio-bare]",
    "TestCanNotDeleteTwice": "test_deleting_what_is_not_there_succeeds[asyncio-bare]",
    "TestWrapsErrorsOfTheBody": (
        "test_an_error_of_the_body_leaves_as_it_is_and_nothing_is_stored[asyncio-bare-after_some]"
    ),
    "TestMetadataOutliveTheirObject": (
        "test_sequences_of_operations_give_what_the_model_gives[asyncio-bare]"
    ),
    "TestStaleDeviation": "test_deleting_what_is_not_there_succeeds[asyncio-bare]",
    "TestStaleDeviationOfOneCase": "test_an_odd_key_is_kept_to_the_byte[asyncio-bare-plus]",
    "TestUnknownDeviation": "test_deviations_name_tests_of_the_kit",
    "TestUnknownCaseOfADeviation": "test_deviations_name_tests_of_the_kit",
    "TestDeviationWithoutReason": "test_deviations_name_tests_of_the_kit",
}
DEVIATING = (
    "TestDeclaredDeviation",
    "test_an_object_that_is_not_there_is_not_found[asyncio-bare-stat]",
)


def run(*nodes: str) -> Mapping[str, str]:
    """Outcomes by `Class::test`."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider"),
            *("-c", str(Path(__file__).parents[3] / "pyproject.toml"), *nodes),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^([A-Z]+) \S*conformance_broken\.py::(\S+)", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return {name: outcome for outcome, name in found}


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, str]:
    chosen = [*CAUGHT.items(), *(("TestSound", test) for test in set(CAUGHT.values())), DEVIATING]
    return run(*(f"{BROKEN}::{name}::{test}" for name, test in chosen))


@pytest.mark.parametrize("name", CAUGHT)
def test_a_wrong_driver_fails_the_check_of_what_is_wrong(
    name: str, outcomes: Mapping[str, str]
) -> None:
    assert outcomes[f"{name}::{CAUGHT[name]}"] == "FAILED"


@pytest.mark.parametrize("test", sorted(set(CAUGHT.values())))
def test_a_right_driver_passes_the_same_check(test: str, outcomes: Mapping[str, str]) -> None:
    assert outcomes[f"TestSound::{test}"] == "PASSED"


def test_a_declared_deviation_is_expected(outcomes: Mapping[str, str]) -> None:
    assert outcomes["::".join(DEVIATING)] == "XFAIL"
