"""Program to graph, cost, PyTorch source and module."""
