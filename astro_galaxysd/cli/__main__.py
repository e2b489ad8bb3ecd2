"""``python -m astro_galaxysd.cli`` is ``galaxysd``."""

from __future__ import annotations

import sys

from astro_galaxysd.cli import main

if __name__ == "__main__":
    sys.exit(main())
