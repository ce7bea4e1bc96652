"""A file for each family of public models: its genome from a configuration, its weights, and the way back."""
