"""Temporary."""

import sys
from pathlib import Path

from novanda.benchmark.cells import run_cells
from novanda.benchmark.studies import STUDIES
from novanda.datasets import find_root

if __name__ == "__main__":
    cells = STUDIES[sys.argv[1]]()
    if len(sys.argv) > 4:
        import re

        cells = [c for c in cells if re.search(sys.argv[4], str(c))]
    run_cells(cells, Path(sys.argv[2]), find_root(), jobs=int(sys.argv[3]))
