"""`shadowproxy demo`: its options."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.cli import main as command
from shadowproxy.demo import show


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"seconds": 30.0, "rate": 120.0, "is_kept": False}),
        (["--seconds", "5", "--rate", "10.5", "--keep"], {"seconds": 5.0, "rate": 10.5, "is_kept": True}),
    ],
)
def test_options_reach_the_demonstration(monkeypatch: pytest.MonkeyPatch, options: list[str], expected: dict[str, Any]) -> None:
    """Defaults are 30 s at 120 requests a second; what is given is used, and the exit code is the demonstration's."""
    called: list[dict[str, Any]] = []

    def run(**arguments: Any) -> int:
        called.append(arguments)
        return 7

    monkeypatch.setattr(show, "run", run)
    assert command.main(["demo", *options]) == 7
    assert called == [expected]


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf"])
@pytest.mark.parametrize("option", ["--seconds", "--rate"])
def test_numbers_must_be_above_zero(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    """Anything else is a usage error that names the option."""
    with pytest.raises(SystemExit) as ended:
        command.main(["demo", f"{option}={value}"])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err
