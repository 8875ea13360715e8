"""docs/configuration.md against the model and the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from shadowproxy.cli.main import main
from shadowproxy.config.experiment_file import load_experiment_text
from shadowproxy.config.model import Config
from shadowproxy.config.reference import BEGIN, END, ROOTS, reference, render
from shadowproxy.config.shape import fields_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"


@pytest.mark.parametrize("name", ROOTS)
def test_the_page_is_up_to_date(name: str) -> None:
    """Its tables are those that the model gives; `python -m shadowproxy.config.reference docs/NAME` writes them."""
    page = (PAGE.parent / name).read_text()
    assert render(page, ROOTS[name]) == page


def test_the_experiment_on_its_page_is_one() -> None:
    """What readers copy is accepted as it stands."""
    text = (PAGE.parent / "experiment-file.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    assert load_experiment_text(text).name == "recommendations-away"


def test_every_field_is_in_it_with_its_default() -> None:
    """No setting is missing from the reference."""
    text = reference()

    def walk(cls: type[Any], *, keyed: bool) -> None:
        for field in fields_of(cls, keyed=keyed):
            assert f"| `{field.name}` |" in text
            inner = field.shape.item or field.shape
            if inner.kind == "object" and inner.cls is not None:
                walk(inner.cls, keyed=field.shape.kind == "mapping")

    walk(Config, keyed=False)
    for row in (
        "| `tee_memory` | size | `64MiB` |",
        "| `connect_timeout` | duration, at least 50ms | `3s` |",
        "| `live` | string | required |",
    ):
        assert row in text


def test_marks_are_needed() -> None:
    """A page without the marks is not silently left as it is."""
    with pytest.raises(ValueError, match="from the model"):
        render(f"{END} {BEGIN}")


def test_links_lead_somewhere() -> None:
    """Every file that the page links to is there, and every example is linked."""
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE.read_text())
    assert all((PAGE.parent / target).exists() for target in targets)
    assert {f"../config/{file.name}" for file in (ROOT / "config").glob("*.yaml")} <= set(targets)


def test_the_sample_output_is_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the page shows of `check` is what `check` prints."""
    shown = re.search(r"\$ shadowproxy check shop.yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(
        'listen: ["127.0.0.1:8080"]\nfleets:\n  live: {endpoints: ["http://127.0.0.1:9001"]}\n'
        '  shadow: {endponts: ["http://127.0.0.1:9002"]}\n\nroutes:\n  - live: live\n    mirror:\n      - {to: shdow, percent: 250}\n',
    )
    assert main(["check", "shop.yaml"]) == 1
    assert capsys.readouterr().out == shown[1]
