"""Baselines: rankings without a graph network, which every model has to beat."""
