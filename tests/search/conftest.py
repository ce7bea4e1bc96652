"""The jobs of tiny.py must have one name here and in worker processes: this folder is where both look."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
