"""Matrices as our encoders begin with them."""

from torch_geometric.nn import Linear


def dense(width_in: int, width_out: int, *, has_bias: bool = True) -> Linear:
    """Return a linear layer whose weights keep the length of what goes through, and whose bias is 0.

    Glorot & Bengio 2010, eq. 16. Torch's own layer would shorten it to 58 %, and add a bias as long as a node's
    level at the beginning, the same for all nodes: their vectors would begin nearly parallel.
    """
    return Linear(width_in, width_out, bias=has_bias, weight_initializer="glorot", bias_initializer="zeros")
