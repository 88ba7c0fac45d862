"""``python -m napari_sam_amg.cli``: the command line."""

from __future__ import annotations

import sys

from napari_sam_amg.cli import main

if __name__ == "__main__":
    sys.exit(main())
