"""`python -m shadowproxy` is the shadowproxy command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shadowproxy import __version__

_SCRIPT = Path(sys.executable).with_name("shadowproxy")


@pytest.mark.parametrize("command", [[sys.executable, "-m", "shadowproxy"], [str(_SCRIPT)]], ids=["module", "script"])
def test_both_ways_to_call_it_are_one_command(command: list[str]) -> None:
    """The module and the installed script show the same version, and refuse the same nonsense with exit code 2."""
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"shadowproxy {__version__}\n"
    refused = subprocess.run([*command, "fly"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "invalid choice: 'fly'" in refused.stderr
