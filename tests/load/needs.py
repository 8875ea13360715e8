"""Programs that some tests drive and pip cannot install; `.ci/run` installs each, so that nothing is left out there."""

from __future__ import annotations

import os
import shutil

import pytest

needs_wrk = pytest.mark.skipif(
    shutil.which("wrk") is None,
    reason="the comparison's load comes from wrk, which is not installed (Debian package wrk): the benchmark is untested here, the proxy is not",
)
needs_nginx = pytest.mark.skipif(
    shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="the benchmark's origin is nginx, which is not installed (Debian package nginx): the benchmark is untested here, the proxy is not",
)
