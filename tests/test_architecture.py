"""The shape of the project: who imports whom, what things are called, how big they are, and that documents tell the truth."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shadowproxy import errors

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "shadowproxy"

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "load" / "README.md", *(ROOT / "docs").rglob("*.md")])

LINE_LIMIT = 600
"""Lines of one module: beyond it, it does more than one thing."""

BANNED = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc", "lib", "core", "stuff"}
"""Names that say nothing about what is inside."""


def _lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_import_contracts_hold() -> None:
    """Every contract of pyproject.toml is kept."""
    result = _lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("config/model.py", "from shadowproxy.policy import units", "Packages lie in layers"),
        ("dataplane/tee.py", "from shadowproxy.judge import sketch", "The data plane works alone"),
        ("dataplane/tee.py", "import aiohttp", "A worker's loop runs the data plane"),
        ("policy/units.py", "import time", "Policy and judge are pure"),
        ("control/counts.py", "from shadowproxy.dataplane import tee", "Control knows the data plane by its messages"),
        ("report/html.py", "import time", "Reports are values in, text out"),
        ("passports/verification.py", "import time", "Passports are pure"),
        ("control/counts.py", "from shadowproxy.demo import shop", "Only the command line knows the demonstration"),
        ("sinks/sink.py", "from shadowproxy.dataplane import tee", "Control knows the data plane by its messages"),
        ("sinks/sink.py", "from shadowproxy.control import counts", "Packages lie in layers"),
        ("propagate/context.py", "from shadowproxy import errors", "What other people's services import brings nothing of ours"),
        ("propagate/context.py", "import aiohttp", "What is carried needs no framework"),
    ],
)
def test_import_contracts_bite(tmp_path: Path, module: str, line: str, contract: str) -> None:
    """A forbidden import in a copy of the tree breaks the contract that forbids it: the contracts are not vacuous."""
    shutil.copytree(PACKAGE, tmp_path / "shadowproxy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / "shadowproxy" / module
    changed.write_text(changed.read_text() + f"\n{line}\n")
    result = _lint_imports(tmp_path)
    assert result.returncode != 0
    broken = [shown for shown in result.stdout.splitlines() if shown.endswith("BROKEN") or " BROKEN " in shown]
    assert any(shown.startswith(contract) for shown in broken), result.stdout


def test_every_module_has_its_own_tests() -> None:
    """shadowproxy/a/b.py is tested by tests/a/test_b.py. Packages' __init__.py only name what is inside."""
    expected = [Path("tests") / module.parent / f"test_{module.stem.strip('_')}.py" for module in MODULES if module.name != "__init__.py"]
    assert not [str(test) for test in expected if not (ROOT / test).is_file()]


def test_modules_are_named_for_what_they_hold() -> None:
    """No drawer for whatever does not fit elsewhere: a newcomer finds the room for a change by its name."""
    words = {module: {word for part in module.with_suffix("").parts for word in part.strip("_").split("_")} for module in MODULES}
    assert not [str(module) for module, said in words.items() if said & BANNED]


def test_modules_do_one_thing_and_say_which() -> None:
    """No module is longer than LINE_LIMIT lines, and each says what it is for in a docstring."""
    texts = {str(module): (PACKAGE / module).read_text() for module in MODULES}
    assert not {module: lines for module, text in texts.items() if (lines := len(text.splitlines())) > LINE_LIMIT}
    assert not [module for module, text in texts.items() if not ast.get_docstring(ast.parse(text))]


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """The tree in the docstring of errors.py names every class, below its real parent."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^( {4}[│├└─ ]*)([A-Z]\w+)", line)
        if found:
            depth, name = len(found[1]), found[2]
            above = [(column, parent) for column, parent in above if column < depth]
            drawn[name] = above[-1][1] if above else "Exception"
            above.append((depth, name))
    real = {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__base__ is not None
    }
    assert drawn == real


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    """Every relative link of a document names a file that is there."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_documents_name_are_there(document: Path) -> None:
    """A path in backticks that looks like one of ours exists."""
    for name in re.findall(r"`((?:shadowproxy|tests|docs|config|load|deploy)/[\w./-]*\w/?)`", document.read_text()):
        assert (ROOT / name).exists(), f"{document.name}: {name}"


def test_the_architecture_names_every_package_and_module() -> None:
    """docs/architecture.md has a line for each package, and names each of its modules."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    missing = []
    for module in MODULES:
        if module.name in {"__init__.py", "__main__.py"}:
            continue
        package = f"{module.parts[0]}/" if len(module.parts) > 1 else module.name
        if f"`{package}`" not in text:
            missing.append(package)
        if not re.search(rf"\b{module.stem}\b", text):
            missing.append(str(module))
    assert not missing


def test_readme_and_makefile_agree() -> None:
    """Each `make` command of README is a target, the two for newcomers are shown, and every target is explained by make help."""
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (\w+)$", makefile, re.MULTILINE))
    shown = set(re.findall(r"\bmake (\w+)", "\n".join(re.findall(r"`[^`]+`|^```.*?^```", readme, re.MULTILINE | re.DOTALL))))
    assert {"demo", "test"} <= shown <= targets
    assert targets == set(re.findall(r"^(\w+):.*## ", makefile, re.MULTILINE))


@pytest.mark.parametrize("record", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda path: path.stem)
def test_decision_records_say_why(record: Path) -> None:
    """A record has a number, a date, a status, the context, the decision and its consequences."""
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+", record.stem)
    text = record.read_text()
    assert re.match(
        rf"# {int(record.stem[:4])}\. .+\n\nDate: \d{{4}}-\d\d-\d\d\. Status: (proposed|accepted|replaced by \d{{4}})\.\n", text
    )
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
