"""Horizontal places for items in ranks: chains that are to be straight are, the rest comes as near as there is room."""
