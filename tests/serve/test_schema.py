"""The OpenAPI page against the running service: whatever is sent, the answer is one it tells of, and never a 5xx."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, openapi
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from .conftest import Process

FEW, MANY = 5, 250
"""Examples a route and kind, of those that keep to the page and those that do not."""
ROUTES = 9


def ask(address: str, examples: int) -> None:
    """Call every route as schemathesis thinks of it, and hold the answers to the page."""
    bounded = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    asked = 0
    for found in openapi.from_url(f"{address}/openapi.json").get_all_operations():
        assert isinstance(found, Ok), "the page is no OpenAPI"
        operation = found.ok()
        for mode in GenerationMode:

            @bounded
            @given(operation.as_strategy(generation_mode=mode))
            def check(case: Case[Any]) -> None:
                # A schema can not say "an image", so what is made by one may be refused.
                excluded: list[Any] = [positive_data_acceptance] if case.media_type == "multipart/form-data" else []
                case.call_and_validate(excluded_checks=excluded)

            with contextlib.suppress(Unsatisfiable):  # a route without parameters can be asked in no wrong way
                check()
        asked += 1
    assert asked == ROUTES


def test_answers_are_those_the_page_tells_of(narrow: Process) -> None:
    ask(narrow.address, FEW)


@pytest.mark.slow
def test_answers_are_those_the_page_tells_of_many_times(narrow: Process) -> None:
    ask(narrow.address, MANY)


def test_every_route_tells_of_its_refusals(narrow: Process) -> None:
    content = httpx2.get(f"{narrow.address}/openapi.json").json()
    seen = 0
    for path, methods in content["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    (described,) = answer["content"].values()
                    assert described["schema"] == {"$ref": "#/components/schemas/Refusal"}, (path, status)
                    seen += 1
    assert seen > 30
    assert not {"HTTPValidationError", "ValidationError"} & content["components"]["schemas"].keys()
