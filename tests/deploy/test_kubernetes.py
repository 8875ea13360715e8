"""The manifests for Kubernetes: what they name exists, the ledger stays, keys are their owner's alone, and nothing is cut off."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from shadowproxy.cli.main import build_parser
from shadowproxy.config import load_file
from shadowproxy.config.model import Config, Limits
from shadowproxy.control.admin.openapi import ENDPOINTS

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"

Plain = dict[str, Any]

FILES = {"kubernetes.yaml": "shadowproxy", "kubernetes-egress.yaml": "egress"}
"""Each manifest, and its container that is ours."""

SECRETS = {"passport.key": "a passport key has at least thirty-two bytes", "admin.token": "0123456789abcdef0123456789abcdef"}


def pod(file: str) -> Plain:
    """The pod's spec."""
    (workload,) = (one for one in yaml.safe_load_all((DEPLOY / file).read_text()) if one["kind"] == "StatefulSet")
    spec: Plain = workload["spec"]["template"]["spec"]
    return {**spec, "claims": [one["metadata"]["name"] for one in workload["spec"]["volumeClaimTemplates"]]}


def ours(file: str) -> Plain:
    """The container that runs shadowproxy."""
    spec = pod(file)
    (found,) = (one for one in [*spec["containers"], *spec["initContainers"]] if one["name"] == FILES[file])
    return dict(found)


def mounts(container: Plain) -> dict[str, str]:
    """Where volumes are mounted, by their name."""
    return {one["name"]: one["mountPath"] for one in container["volumeMounts"]}


def config(file: str, keys: Path) -> Config:
    """The config that the manifest's comment names, with the container's environment, and its keys where the test has them."""
    (name,) = re.findall(r"--from-file=config\.yaml=(\S+)", (DEPLOY / file).read_text())
    environment = {one["name"]: one["value"] for one in ours(file)["env"]} | {"CERTS": str(keys)}
    loaded = load_file(ROOT / name, environment)
    assert not loaded.warnings
    return loaded.config


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory with both secrets, as the init containers make it."""
    made = tmp_path / "keys"
    made.mkdir()
    for name, text in SECRETS.items():
        (made / name).write_text(text)
        (made / name).chmod(0o600)
    return made


@pytest.mark.parametrize("file", FILES)
def test_the_ledger_is_on_a_volume_that_stays(file: str, keys: Path) -> None:
    """State and ledger are under the mount of the volume claim; one claim a pod."""
    found = config(file, keys)
    spec = pod(file)
    assert spec["claims"] == ["state"]
    place = Path(mounts(ours(file))["state"])
    paths = [found.state.removeprefix("sqlite:///")] + ([found.tenancy.ledger.path] if found.tenancy.ledger.path else [])
    for path in paths:
        assert Path("/" + path.lstrip("/")).is_relative_to(place)
    assert spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


@pytest.mark.parametrize("file", FILES)
def test_keys_are_copied_for_their_owner_alone(file: str, keys: Path, tmp_path: Path) -> None:
    """The init container's command, run: every file that the config wants, mode 0600, where the config looks; also from a Secret that the group can read."""
    (init,) = (one for one in pod(file)["initContainers"] if one["name"] == "keys")
    copied = tmp_path / "copied"
    copied.mkdir()
    for one in keys.iterdir():
        one.chmod(0o440)
    places = {mounts(init)["secret"]: str(keys), mounts(init)["keys"]: str(copied)}
    subprocess.run([re.sub(r"^/\w+", lambda match: places[match[0]], word) for word in init["command"]], check=True)
    assert {stat.S_IMODE(one.stat().st_mode) for one in copied.iterdir()} == {0o600}
    config(file, copied)
    environment = {one["name"]: one["value"] for one in ours(file)["env"]}
    assert environment["CERTS"] == mounts(ours(file))["keys"] == mounts(init)["keys"]
    (volume,) = (one for one in pod(file)["volumes"] if one["name"] == "keys")
    assert volume["emptyDir"]["medium"] == "Memory"
    named = re.findall(r"--from-file=([a-z.]+)(?:\s|$)", (DEPLOY / file).read_text())
    assert sorted(Path(word).name for word in init["command"] if word.startswith("/secret/")) == sorted(named)


@pytest.mark.parametrize("file", FILES)
def test_it_runs_as_the_images_user_and_locked_down(file: str) -> None:
    """Nobody's root, nothing to write to but its volumes."""
    spec = pod(file)
    assert f"USER {spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" in (DEPLOY / "Dockerfile").read_text()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in (ours(file), spec["initContainers"][0]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
    volumes = {one["name"] for one in spec["volumes"]} | set(spec["claims"])
    assert set(mounts(ours(file))) <= volumes


@pytest.mark.parametrize("file", FILES)
def test_commands_probes_and_ports_are_ours(file: str, keys: Path) -> None:
    """What it runs, what the comment shows, what probes ask, where Prometheus looks; and it has longer to end than it takes to drain."""
    container = ours(file)
    found = config(file, keys)
    build_parser().parse_args(container["args"])
    for command in re.findall(r"-- shadowproxy ([a-z ]+)$", (DEPLOY / file).read_text(), re.MULTILINE):
        build_parser().parse_args(command.split())
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert found.admin.address == f"0.0.0.0:{ports['admin']}"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe in container:
            assert ports[container[probe]["httpGet"]["port"]]
            assert container[probe]["httpGet"]["path"] in {one.path for one in ENDPOINTS}
    assert f'prometheus.io/port: "{ports["admin"]}"' in (DEPLOY / file).read_text()
    assert pod(file)["terminationGracePeriodSeconds"] > found.limits.drain_timeout
    assert found.limits.drain_timeout <= Limits().drain_timeout


def test_the_gateway_listens_where_the_service_sends(keys: Path) -> None:
    """Service, container port and listener are one; tags need a passport."""
    service = next(one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()) if one["kind"] == "Service")
    (listener,) = config("kubernetes.yaml", keys).listen
    ports = {one["name"]: one["containerPort"] for one in ours("kubernetes.yaml")["ports"]}
    assert listener.address == f"0.0.0.0:{ports[service['spec']['ports'][0]['targetPort']]}"
    assert listener.trust.mode == "signed"


def test_the_service_calls_through_its_sidecar(keys: Path) -> None:
    """The sidecar outlives the service, listens on the pod's loopback only, and has a route for each dependency."""
    sidecar = ours("kubernetes-egress.yaml")
    assert sidecar["restartPolicy"] == "Always"
    found = config("kubernetes-egress.yaml", keys)
    (listener,) = found.listen
    assert listener.egress is not None
    (service,) = pod("kubernetes-egress.yaml")["containers"]
    environment = {one["name"]: one["value"] for one in service["env"]}
    base, forward = urlsplit(environment["PAYMENTS_URL"]), urlsplit(environment["HTTP_PROXY"])
    assert {base.netloc, forward.netloc} == {listener.address}
    assert listener.address.startswith("127.0.0.1:")
    paths = {route.match.path for route in found.routes}
    assert base.path in paths
    assert {route.match.host for route in found.routes} >= {"mail.internal"}
    assert all(route.test_traffic.writes.sink in found.sinks for route in found.routes)
