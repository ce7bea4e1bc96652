"""Two programs side by side: `bodies.py` compares, `changes.py` is what it finds."""
