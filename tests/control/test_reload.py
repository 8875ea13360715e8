"""A config is replaced whole, or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from shadowproxy.config import from_plain
from shadowproxy.control.audit import SYSTEM
from shadowproxy.control.worker import State
from shadowproxy.errors import ConfigError, ControlError, StaleConfig
from tests.control.conftest import Start, plain, until
from tests.kit.network import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from shadowproxy.control.supervisor import Supervisor


def generations(supervisor: Supervisor) -> list[int]:
    """Generations of the workers that serve."""
    return [worker.generation for worker in supervisor.crew.workers if worker.state is State.READY]


async def change(supervisor: Supervisor, directory: Path, **changed: Any) -> Any:
    """Ask for the plain config with changes."""
    return await supervisor.configs.change(from_plain(plain(directory, **changed)), SYSTEM, "config.put")


async def test_a_new_policy_reaches_every_worker(start: Start, tmp_path: Path) -> None:
    """Workers keep running; each has the new generation when the change is over."""
    supervisor = await start(workers=2)
    pids = [worker.pid for worker in supervisor.crew.workers]
    changed = await change(supervisor, tmp_path, workers=2, limits={"drain_timeout": "1s", "head": "8KiB"})
    assert (changed.result, changed.generation, changed.unanswered) == ("ok", 2, ())
    assert generations(supervisor) == [2, 2]
    assert [worker.pid for worker in supervisor.crew.workers] == pids


async def test_equal_meaning_is_a_no_op(start: Start, tmp_path: Path) -> None:
    """The same meaning, in other words, changes nothing."""
    supervisor = await start()
    changed = await change(supervisor, tmp_path, limits={"drain_timeout": 1.0})
    assert (changed.result, changed.generation) == ("unchanged", 1)
    assert supervisor.configs.results["unchanged"] == 1


async def test_a_policy_that_workers_refuse_is_undone(start: Start, tmp_path: Path) -> None:
    """When a worker refuses, the old config stays in force everywhere, and the reason is kept."""
    supervisor = await start("refuse2")
    digest = supervisor.configs.digest
    with pytest.raises(ControlError, match="this worker refuses"):
        await change(supervisor, tmp_path, limits={"head": "8KiB"})
    assert (supervisor.configs.digest, supervisor.configs.results["refused"]) == (digest, 1)
    assert "this worker refuses" in supervisor.configs.problem
    assert supervisor.is_ready
    assert supervisor.audit.latest(1)[0]["result"] == "refused"


async def test_more_and_fewer_workers(start: Start, tmp_path: Path) -> None:
    """A change of the number replaces the set; the listeners keep their ports."""
    supervisor = await start()
    port = supervisor.listeners.address(supervisor.config.listen[0]).port
    old = supervisor.crew.workers[0]
    await change(supervisor, tmp_path, workers=3)
    assert generations(supervisor) == [2, 2, 2]
    await until(lambda: old.state is State.GONE, "the old worker's end")
    await change(supervisor, tmp_path, workers=1)
    await until(lambda: len(supervisor.crew.workers) == 1, "one worker left")
    assert supervisor.listeners.address(supervisor.config.listen[0]).port == port


async def test_a_listener_is_added_and_removed(start: Start, tmp_path: Path) -> None:
    """Addresses come and go with the config that names them."""
    supervisor = await start()
    port = free_port()
    two = [{"name": "front", "address": "127.0.0.1:0"}, {"name": "back", "address": f"127.0.0.1:{port}"}]
    await change(supervisor, tmp_path, listen=two)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()
    await change(supervisor, tmp_path)
    await until(lambda: len(supervisor.crew.workers) == 1, "the old workers' end")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_an_address_in_use_is_refused(start: Start, tmp_path: Path) -> None:
    """A listener that cannot be bound refuses the change; nothing was replaced."""
    supervisor = await start()
    pid = supervisor.crew.workers[0].pid
    taken = str(supervisor.admin_address)
    with pytest.raises((ControlError, ConfigError), match=r"in use|admin"):
        await change(supervisor, tmp_path, listen=[{"name": "front", "address": taken}])
    assert [worker.pid for worker in supervisor.crew.workers] == [pid]
    assert supervisor.configs.config.listen[0].address == "127.0.0.1:0"


@pytest.mark.parametrize("changed", [{"admin": {"address": "127.0.0.1:3"}}, {"state": "sqlite:///other.db"}])
async def test_what_is_fixed_is_refused_by_name(start: Start, tmp_path: Path, changed: dict[str, Any]) -> None:
    """Admin address and state cannot change while running, and the message says so."""
    supervisor = await start()
    with pytest.raises(ConfigError, match=f"{next(iter(changed))}: cannot change while running"):
        await change(supervisor, tmp_path, **changed)


async def test_a_stale_change_is_refused(start: Start, tmp_path: Path) -> None:
    """A change that means to replace another config than the one in force is refused."""
    supervisor = await start()
    with pytest.raises(StaleConfig):
        await supervisor.configs.change(supervisor.config, SYSTEM, "config.put", replaces="0" * 64)


async def test_changes_wait_for_one_another(start: Start, tmp_path: Path) -> None:
    """Changes asked for at once are applied one after the other; each has its own generation."""
    supervisor = await start()
    changes = [change(supervisor, tmp_path, limits={"head": f"{size}KiB"}) for size in (2, 3, 4, 5)]
    results = await asyncio.gather(*changes)
    assert [result.generation for result in results] == [2, 3, 4, 5]
    assert generations(supervisor) == [5]


async def test_the_file_is_read_again(start: Start, tmp_path: Path) -> None:
    """Good, unreadable, gone: the last good one stays."""
    file = tmp_path / "proxy.yaml"
    supervisor = await start(file=file)
    file.write_text(yaml.safe_dump(plain(tmp_path, limits={"head": "9KiB"})))
    assert (await supervisor.configs.reload(SYSTEM)).generation == 2
    file.write_text("listen: [")
    with pytest.raises(ConfigError, match=r"proxy.yaml:\d+:\d+: .*not YAML"):
        await supervisor.configs.reload(SYSTEM)
    file.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        await supervisor.configs.reload(SYSTEM)
    assert supervisor.config.limits.head == 9 * 1024


async def test_without_a_file_there_is_nothing_to_reload(start: Start) -> None:
    """The reason is said."""
    supervisor = await start()
    with pytest.raises(ControlError, match="no config file"):
        await supervisor.configs.reload(SYSTEM)


async def test_counts_outlive_reloads(start: Start, tmp_path: Path) -> None:
    """A mirror that was removed keeps its totals, and goes on with them when it returns."""
    supervisor = await start()
    await until(lambda: supervisor.counts.mirrors["all/shadow"].eligible == 3, "a report")
    await change(supervisor, tmp_path, routes=[{"name": "all", "live": "live"}])
    assert supervisor.counts.mirrors["all/shadow"].eligible == 3
    await change(supervisor, tmp_path)
    await until(lambda: supervisor.counts.mirrors["all/shadow"].eligible == 6, "another report")
    assert supervisor.counts.is_conserved("all/shadow")
