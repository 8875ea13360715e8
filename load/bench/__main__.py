"""`python -m load.bench`."""

from __future__ import annotations

import sys

from load.bench.cli import main

sys.exit(main())
