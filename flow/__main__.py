"""``python -m flow`` is the command ``flow``."""

from __future__ import annotations

import sys

from flow.cli import main

if __name__ == "__main__":
    sys.exit(main())
