"""The program, as ``python -m maury`` and as the command ``maury``."""

import signal
import sys

from . import _maury


def main() -> int:
    """Run the program with the words of the command line; its exit code."""
    # Ctrl-C and a closed pipe are the program's own business.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _maury.main(["maury", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
