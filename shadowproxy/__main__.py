"""`python -m shadowproxy` is the shadowproxy command."""

from __future__ import annotations

import sys

from shadowproxy.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
