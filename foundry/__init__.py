"""Foundry: language models whose architectures evolve."""

__version__ = "0.1.0"
