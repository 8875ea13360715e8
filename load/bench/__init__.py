"""`make bench`: mirroring proxies side by side, one core each, in one run.

The rules of this package:

- One CPU belongs to the proxy under test: every process and thread of its data plane is pinned
  there. Everything else (origins, load, a proxy's control process, this program) is pinned elsewhere.
- What is compared is CPU time per request, read from the kernel's clock of the data-plane processes,
  because it does not depend on how much the other CPU can send. Throughput and latency stand beside it.
- Repetitions take turns: round 1 of every proxy, then round 2. A ratio is taken inside a round, and
  the median over rounds is reported, so that a machine that drifts drifts under all of them alike.
- A run that did not do the work does not count: answers other than 200, a mirror that did not arrive
  at the shadow, or a short answer make the measurement a failed one, with its reason.
- Peers get their best settings: keep-alive to live and shadow, no access log, no request ids.
"""

from __future__ import annotations
