"""A genome at another size: `search.py` finds it, `sizes.py` says which of its numbers are sizes."""
