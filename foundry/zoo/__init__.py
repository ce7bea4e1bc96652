"""Public models in, trained models out."""
