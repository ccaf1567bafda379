"""Requests that schemathesis makes of the gateway's OpenAPI description: `nox -s fuzz-api`."""

import os
from collections.abc import Generator
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from serving import open_to_all, serving_in_thread

from polystow_gateway.server._access_config import MappingConfig

if not os.environ.get("POLYSTOW_FUZZ"):
    pytest.skip("it takes minutes: nox -s fuzz-api", allow_module_level=True)

# By name, since the session alone installs it.
schemathesis: Any = import_module("schemathesis")
conformance: Any = import_module("schemathesis.specs.openapi.checks").response_schema_conformance
EXAMPLES = int(os.environ.get("POLYSTOW_FUZZ_EXAMPLES", "50"))
UNSUPPORTED = 501
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def description() -> Generator[Any]:
    storage = {"mounts": {"memory": {"default_container": "files"}}}
    config = open_to_all(
        storage,
        api_docs=True,
        refstore_paths=True,
        mapping=MappingConfig("memory:gateway/mapping.json"),
    )
    with serving_in_thread(config) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_no_request_is_too_odd(description: Any, subtests: pytest.Subtests) -> None:
    operations = [found.ok() for found in description.get_all_operations()]
    assert len(operations) > 40
    for operation in operations:
        with subtests.test(operation=operation.label):
            _attack(operation)


def _attack(operation: Any) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=SLOW)
    @given(operation.as_strategy())
    def attack(case: Any) -> None:
        answer = case.call(timeout=30)
        shown = answer.status_code, answer.text[:300]
        assert answer.status_code < 500 or answer.status_code == UNSUPPORTED, shown
        if answer.status_code < 300:
            case.validate_response(answer, checks=(conformance,))
        elif answer.status_code >= 400 and case.method != "HEAD":
            assert answer.headers["content-type"] == ["application/problem+json"], shown

    attack()
