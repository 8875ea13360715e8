"""Control's part in passports: workers get the keys from it, and ask it whether a passport was used.

Secrets go from files to workers in the policy message, over a socketpair: never as arguments, in the
environment, in a log, in the audit or through the admin API, which show the config, and that has names of files only.
Files are read when a config comes into force and at every reload, so that all workers have the same keys
at all times, whenever they were started.
"""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING

from shadowproxy.config.files import read_secret
from shadowproxy.control.nonces import Nonces, first_second

if TYPE_CHECKING:
    from shadowproxy.config.model import Config
    from shadowproxy.control.worker import Worker
    from shadowproxy.dataplane.messages import Message

_log = logging.getLogger("shadowproxy.control")


class Passports:
    """Keys, and which passports were used.

    Args:
        config: the first config.
        started_at: when this process started, in Unix seconds.
        nonces: what was used; tests bring their own clock.
    """

    def __init__(self, config: Config, started_at: float, nonces: Nonces | None = None) -> None:
        self.nonces = nonces if nonces is not None else Nonces()
        self.since = first_second(started_at, config.tenancy.passports.skew)
        self.problem = ""
        self._keys: dict[str, str] = {}
        self._config = config
        self.refresh(config)

    def __repr__(self) -> str:
        return f"<Passports keys={sorted(self._keys)} since={self.since} {self.nonces!r}>"

    def refresh(self, config: Config) -> bool:
        """Read the key files of `config` again; whether workers have to be told. Reads a few small files.

        A file that cannot be read leaves its key as it was, and `problem` says so.
        """
        before, self._keys = self._keys, {}
        problems = []
        for name, key in config.tenancy.passports.keys.items():
            try:
                self._keys[name] = base64.b64encode(read_secret(key.file)).decode()
            except OSError as error:
                problems.append(f"passport key {name}: {key.file}: {error.strerror}")
                if name in before:
                    self._keys[name] = before[name]
        self._config = config
        self.problem = "; ".join(problems)
        for problem in problems:
            _log.error("%s", problem)
        return self._keys != before

    def tell(self, config: Config) -> Message:
        """What workers must know with `config`: its keys, and from when on passports are taken."""
        if config is not self._config:
            self.refresh(config)
        return {"passport_keys": self._keys, "since": self.since}

    def on_nonces(self, worker: Worker, message: Message) -> None:
        """A worker has verified passports, and asks whether they are used for the first time.

        Raises:
            KeyError, TypeError, ValueError: the message cannot be read; it is not answered.
        """
        uses = self.nonces.answer(message["nonces"], self._config.tenancy.passports.skew)
        worker.send({"type": "nonces_done", "id": message["id"], "uses": uses})
