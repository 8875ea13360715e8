"""The test kit: real sockets on both sides of a real proxy process.

One module a thing, in dependency order:

law          what may stand on an upstream wire, and three readers that must agree on it
wire         requests and responses read by h11, one fresh parser a message
network      listening sockets, ports, and connections that end on demand (FIN or RST)
process      memory, descriptors and CPU of a process, from /proc
answers      what an origin does with a request: ok, chunked, hang, reset, truncated, ...
origin       a server that records every byte and answers by script
client       a raw client: whole, byte by byte, split, half-closed, aborted
worker       one real worker process, with the kit in the role of the control process
supervised   `shadowproxy run` as a whole
postgres     a real PostgreSQL server, for the fixtures `postgres` and `database`
world        live and shadow origins around one worker: where most tests begin
tagged       the same for test traffic: rules, sinks, partitions, and what must hold of everything that was sent

Everything is synchronous: a test reads as a conversation, and a socket that stays silent
longer than PATIENCE_S is an error. Origins answer from threads of their own. What a test
starts, its fixture stops.
"""

from __future__ import annotations

from tests.kit.client import Client
from tests.kit.origin import Origin
from tests.kit.supervised import SupervisedProxy
from tests.kit.wire import Response, Seen, Truncated, WireError
from tests.kit.worker import WorkerProxy
from tests.kit.world import World, settings

__all__ = ["Client", "Origin", "Response", "Seen", "SupervisedProxy", "Truncated", "WireError", "WorkerProxy", "World", "settings"]
