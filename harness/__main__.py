"""`python -m harness`, the same as the console command `harness`."""

import sys
from pathlib import Path

if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]  # the current folder, which `python -m` puts there: nothing in it is imported

from harness.app import main

if __name__ == "__main__":
    sys.exit(main())
