"""Training: one readable loop for every model."""
