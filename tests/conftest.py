"""Make `analytic` importable from every test; the sources stay off the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
