"""The serving halves of encoders and aggregators: the mathematics of ``encoders`` and ``aggregators`` in numpy.

Parameters come by their names in the ``state_dict`` of the training halves.
"""
