"""The variation operators, one file for each kind of change."""
