"""Evaluation: what a genome is worth, how sure that is, and what was wrong where it failed."""
