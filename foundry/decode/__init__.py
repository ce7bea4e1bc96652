"""Decoding: text from a model, token by token. Knows nothing of checkpoints' origin, of terminals and of HTTP."""
