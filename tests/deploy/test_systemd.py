"""The systemd unit."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shadowproxy.cli import main as command
from shadowproxy.config.model import Limits

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "deploy" / "shadowproxy.service"


def _service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


def test_it_runs_commands_that_exist_on_a_config_that_does() -> None:
    """What it starts parses as our command line, and the config that its comment installs is one of the examples."""
    for key in ("ExecStartPre", "ExecStart"):
        program, *arguments = _service()[key].split()
        assert Path(program).name == "shadowproxy"
        command.build_parser().parse_args(arguments)
    assert "config/sticky.yaml" in UNIT.read_text()
    assert (ROOT / "config" / "sticky.yaml").is_file()


def test_it_does_not_run_as_root_and_keeps_its_state() -> None:
    """A user of its own, a private state directory that is the working directory, and no capability."""
    service = _service()
    assert service["DynamicUser"] == "yes"
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert service["CapabilityBoundingSet"] == ""
    assert service["NoNewPrivileges"] == "yes"


def test_it_gives_time_to_drain_and_room_for_clients() -> None:
    """The stop timeout is longer than the default drain, and there are descriptors for the default number of clients."""
    service = _service()
    assert float(service["TimeoutStopSec"].removesuffix("s")) > Limits().drain_timeout
    assert int(service["LimitNOFILE"]) > 2 * Limits().connections
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_keys_are_where_the_example_looks() -> None:
    """The credentials that it can be given are the files that config/test-traffic.yaml names, which keeps its ledger in the state directory."""
    text = (ROOT / "config" / "test-traffic.yaml").read_text()
    named = set(re.findall(r"\$\{env:CERTS:-/etc/shadowproxy\}/([a-z.]+)", text))
    assert set(re.findall(r"^#LoadCredential=([a-z.]+):/etc/shadowproxy/\1$", UNIT.read_text(), re.MULTILINE)) == named
    assert set(re.findall(r"\$\{env:STATE_DIR:-([^}]+)\}", text)) == {_service()["WorkingDirectory"]}


@pytest.mark.parametrize("has_keys", [False, True])
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed (Debian package systemd): what the unit says is tested above, that systemd can read it is not",
)
def test_systemd_accepts_it(tmp_path: Path, *, has_keys: bool) -> None:
    """systemd-analyze verify has nothing to say, with the program in place of one that is not installed here; also with credentials."""
    text = UNIT.read_text().replace("/opt/shadowproxy/bin/shadowproxy", "/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^#(LoadCredential|Environment)=", r"\1=", text, flags=re.MULTILINE) if has_keys else text)
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if UNIT.name in line]) == (0, [])
