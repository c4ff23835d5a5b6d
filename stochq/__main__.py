"""Run the command line: ``python -m stochq``."""

import sys

from stochq.cli import main

if __name__ == "__main__":
    sys.exit(main())
