"""One file per primitive: the reference PyTorch code that the emitter copies."""
