"""The compose file of the demonstration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shadowproxy.config import load_file

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_it_is_the_whole_demonstration() -> None:
    """Two shops, the proxy and the users, each locked down."""
    assert set(SERVICES) == {"live", "shadow", "proxy", "traffic"}
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_only_the_proxy_is_published_and_only_on_loopback() -> None:
    """Nothing of the demonstration can be reached from other machines."""
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {"proxy": ["127.0.0.1:8080:8080"]}


def test_files_and_services_that_it_names_are_there() -> None:
    """Build context, Dockerfile, mounted files, volumes and dependencies exist."""
    build = SERVICES["proxy"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "disable" not in SERVICES[other].get("healthcheck", {})


def test_the_proxys_config_is_accepted_and_names_the_services() -> None:
    """The mounted config loads without a warning; each endpoint is a service, on the port that it listens on."""
    loaded = load_file(DEPLOY / "compose-proxy.yaml")
    assert not loaded.warnings
    for fleet in loaded.config.fleets.values():
        for endpoint in fleet.endpoints:
            host, _, port = endpoint.removeprefix("http://").partition(":")
            assert port in SERVICES[host]["entrypoint"]


def test_it_is_given_longer_to_stop_than_it_takes_to_drain() -> None:
    """SIGKILL does not come while requests in flight are being finished."""
    drain_s = load_file(DEPLOY / "compose-proxy.yaml").config.limits.drain_timeout
    assert float(SERVICES["proxy"]["stop_grace_period"].removesuffix("s")) > drain_s


@pytest.mark.parametrize("name", ["live", "traffic"])
def test_commands_have_the_options_that_are_given(name: str) -> None:
    """Every option that a service passes is one that its module takes."""
    python, *module = SERVICES[name]["entrypoint"][:3]
    assert python == "python"
    usage = subprocess.run([sys.executable, *module, "--help"], capture_output=True, text=True, check=True).stdout
    for word in SERVICES[name]["entrypoint"]:
        if word.startswith("--"):
            assert word in usage
