"""Experiment files into accepted experiments: the same border that configs cross, and the same reports of every problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowproxy.config.checks_experiment import check_experiment
from shadowproxy.config.experiment import Experiment
from shadowproxy.config.load import read_file, read_text
from shadowproxy.config.plain import value_to_plain
from shadowproxy.config.read import read_object
from shadowproxy.config.report import Report
from shadowproxy.config.shape import shape_of
from shadowproxy.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def load_experiment_file(path: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> Experiment:
    """Return the experiment in a YAML file of at most 8 MiB; `env` is for `${env:NAME}`, by default the process's.

    Raises:
        ConfigError: with every problem in the file, each with its line and column.

    """
    value, report = read_file(path, env)
    return _accept(value, report)


def load_experiment_text(text: str | bytes, env: Mapping[str, str] | None = None, *, file: str = "<text>") -> Experiment:
    """Return the experiment that a YAML (or JSON) text describes; `file` is what problems call it.

    Raises:
        ConfigError: with every problem in the text, each with its line and column.

    """
    value, report = read_text(text, env, file=file)
    return _accept(value, report)


def experiment_from_plain(mapping: Mapping[str, Any]) -> Experiment:
    """Return the experiment that plain data describes.

    Raises:
        ConfigError: with every problem; their lines are 0, as there is no file.

    """
    return _accept(dict(mapping), Report())


def experiment_to_plain(experiment: Experiment) -> dict[str, Any]:
    """Return all that it says, defaults included: what `experiment_from_plain` makes it of again."""
    plain: dict[str, Any] = value_to_plain(shape_of(Experiment), experiment)
    return plain


def _accept(value: Any, report: Report) -> Experiment:
    experiment: Experiment = read_object(Experiment, value, "", report)
    if not report.has_errors:
        check_experiment(experiment, report)
    if report.has_errors:
        raise ConfigError(report.in_order())
    return experiment
