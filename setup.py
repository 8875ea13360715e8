"""Build hook of the optional compiled data plane; everything else about the package is in pyproject.toml.

With SHADOWPROXY_COMPILE=1 in the environment, mypy and a C compiler at hand, the modules below are compiled by
mypyc from the same source. Without it (the default) the package is pure Python. See docs/decisions/0003-*.md.
"""

from __future__ import annotations

import os

from setuptools import setup

DATA_PLANE = """
    accept capture deadlines distort exchange faultedanswer fields forward forwarded framing gather head headbuffer inject leg
    madeup mirroring outcome problem request_head request_lines request_templates
    response_head response_lines response_templates scrub scrubframes slowsender tally tcp tee templates trace tunnel upstream
"""
COMPILED = (
    *(f"shadowproxy/dataplane/{name}.py" for name in DATA_PLANE.split()),
    *(f"shadowproxy/policy/{name}.py" for name in ("mirrors", "routes", "units")),
    "shadowproxy/hashspace.py",
    "shadowproxy/logbuckets.py",
)

if os.environ.get("SHADOWPROXY_COMPILE") == "1":
    from mypyc.build import mypycify

    setup(ext_modules=mypycify(["--ignore-missing-imports", *COMPILED], opt_level="3"))
else:
    setup()
