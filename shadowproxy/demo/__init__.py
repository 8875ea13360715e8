"""The demonstration: a small shop in two versions, its users, the proxy between them, and what was found.

::

    cli/demo.py ─▶ show ─▶ stage ─▶ children: shop (live, v1), shop (shadow, v2), `shadowproxy run`, traffic
                     │        ╰─▶ config.yaml and token in a temporary directory
                     ├─▶ view      what the terminal shows while it runs
                     ╰─▶ findings  what the comparison says, in figures and sentences

Every server is a real process on a free port of the loopback interface, and all of
them end with the demonstration, however it ends.
"""

from __future__ import annotations
