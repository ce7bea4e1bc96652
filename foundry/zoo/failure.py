"""What goes wrong with public models."""


class ZooError(ValueError):
    """A model that cannot come in or go out. One line: which part of it, why, and what to do."""
