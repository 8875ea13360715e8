"""Documents that tell how the code works name only code that is there."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import shadowproxy
from shadowproxy.config.model import SCRUBBED_BODY_LIMIT
from shadowproxy.dataplane import accept, exchange, framing, head, scrub, tee, tunnel, upstream

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent
LIFE = (ROOT / "docs" / "life-of-a-request.md").read_text()
THREATS = (ROOT / "docs" / "threat-model.md").read_text()

# What a document may name in backticks beside the code of these packages.
WORDS = {"shadowproxy explain", "eligible == sum(fates) + pending", "/metrics", "tests/test_docs.py"}


def _modules() -> list[ModuleType]:
    packages = ("dataplane", "policy", "judge", "control")
    names = [f"shadowproxy.{name}" for name in packages]
    for package in names[:]:
        module = importlib.import_module(package)
        names += [found.name for found in pkgutil.iter_modules(module.__path__, f"{package}.")]
    return [importlib.import_module(name) for name in names]


def _is_there(name: str) -> bool:
    """Whether a class, a function, or an attribute of a class is called that in the packages above, or an error is."""
    owner, _, member = name.partition(".")
    for module in [*_modules(), importlib.import_module("shadowproxy.errors")]:
        found = vars(module).get(owner)
        if found is not None and (not member or hasattr(found, member)):
            return True
    return False


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([^`\n]+)`", LIFE)) - WORDS))
def test_the_life_of_a_request_names_what_is_there(name: str) -> None:
    """Each name in backticks is one of the code's."""
    assert _is_there(name), name


def test_the_life_of_a_request_goes_through_the_whole_data_plane() -> None:
    """Each class that lives in the data plane and takes part in a request is on the way."""
    classes = {
        name
        for module in _modules()
        if module.__name__.startswith("shadowproxy.dataplane.")
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    beside = {
        "Addresses", "ForbiddenAddressError", "ChunkedReader", "Completion", "Decoder", "Health", "HealthWatch", "HeadProbe", "RequestHead",
        "ResponseHead", "RouteTally", "Trace", "Watched", "WorkerProcess",
    }  # fmt: skip
    assert {name for name in classes - beside if not re.search(rf"`{name}\b", LIFE)} == set()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[^`]+)`", THREATS))))
def test_the_threat_model_names_tests_that_are_there(name: str) -> None:
    """A defence is one when a test shows it."""
    file, _, function = name.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not function or function in functions


def test_the_threat_model_states_the_limits_as_they_are() -> None:
    """The table's numbers, in the order of its rows."""
    kib = 1024
    values = (
        accept.PIPELINE_LIMIT, accept.LINGER_LIMIT, accept.LINGER_S, exchange.HELD_LIMIT, framing.SIZE_LINE_LIMIT, framing.EXTENSIONS_LIMIT,
        framing.TRAILERS_LIMIT, upstream.HEAD_LIMIT, upstream.INTERIM_LIMIT, tee.ANSWER_LIMIT, tee.READ_PER_TICK, tee.ANSWER_FREE, SCRUBBED_BODY_LIMIT,
        scrub.JOBS_LIMIT, scrub.JOBS_BYTES, scrub.LATE_NS, head.BLOCKS_LIMIT, head.BLOCK_BYTES_LIMIT, tunnel.IDLE_NS,
    )  # fmt: skip
    assert values == (
        64 * kib, kib * kib, 2.0, 64 * kib, kib, 16 * kib, 16 * kib, 128 * kib, 32, 16 * kib * kib, 4 * kib * kib, 256 * kib, kib * kib, 512,
        8 * kib * kib, 10**9, 1024, 4 * kib, 3600 * 10**9,
    )  # fmt: skip


def test_documents_are_of_this_package() -> None:
    """The packages that are looked through are the ones that are installed."""
    assert Path(shadowproxy.__file__).is_relative_to(ROOT)
