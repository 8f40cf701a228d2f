"""Fitting the exponents of the ranking: a conditional logit on the latest interactions.

``fit`` fits them in a training; ``refit`` does so between trainings, for a model whose vectors stay. ``slices`` chooses
the interactions, ``logit`` turns them into choices among items and finds the exponents that are significant, and
``likelihood`` maximises the likelihood.
"""
