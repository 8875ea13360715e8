"""The description of whois."""

from __future__ import annotations

import jsonschema

from shadowproxy.control.admin.openapi import describe
from shadowproxy.control.admin.whois_api import ENDPOINTS, SCHEMAS


def test_it_is_a_part_of_the_whole() -> None:
    """With its parameters, and a schema that is valid."""
    (endpoint,) = ENDPOINTS
    described = describe()["paths"]["/api/v1/whois"]["get"]
    assert {one["name"] for one in described["parameters"]} == {"unit", "since", "key"}
    assert described["operationId"] == endpoint.name
    jsonschema.Draft202012Validator.check_schema(SCHEMAS["Whois"])
