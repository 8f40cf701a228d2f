"""Baselines: rankings without a graph neural network, which every model has to beat."""
