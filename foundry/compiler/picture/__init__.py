"""A program as a picture: `scene.py` says what is in it, `layout.py` where, `svg.py` how it looks."""
