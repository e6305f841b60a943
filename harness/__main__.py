"""The console command `harness`, and `python -m harness`."""

import os
import sys
from pathlib import Path


def main() -> int:
    """Run the command line, free of what other tools' variables would do to it."""
    for name in [name for name in os.environ if name.startswith("TQDM_") or name == "MPLBACKEND"]:
        del os.environ[name]  # tqdm and matplotlib fail at values that they do not know
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not (epoch.isascii() and epoch.isdecimal() and len(epoch) < 12):  # NumPy reads it
        del os.environ["SOURCE_DATE_EPOCH"]
    from harness import app

    return app.main()


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    if not sys.flags.safe_path and Path(sys.path[0]).resolve() != here:
        del sys.path[0]  # the current folder, which `python -m` puts there: nothing is imported
    sys.exit(main())
