"""How good a model is: data sets, splits, protocols, metrics, and the gate. See README.md beside this file.

``data``, ``splits``, ``protocols`` and ``simulation`` export what callers use. This package and ``measures`` import
nothing, so that a command that reads a data set, and the server that computes NDCG, do not load PyTorch and SciPy here.
"""
