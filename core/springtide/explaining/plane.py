"""Vectors in two dimensions, so that near ones are near: principal components, and t-SNE from there."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

MAX_POINTS = 2_000  # t-SNE holds a few square matrices: 32 MB each for so many.
_STEPS, _EXAGGERATED_STEPS, _EXAGGERATION = 400, 100, 12.0
_BISECTIONS = 40


def principal_plane(vectors: Array) -> Float64s:
    """Return the first two principal components of some vectors, float32 ``[n, d]``; float64 ``[n, 2]``."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(vectors), 2))
    found = centred @ axes[:2].T
    plane[:, : found.shape[1]] = found
    return plane


def neighbour_plane(vectors: Array, perplexity: float = 30.0) -> Float64s:
    """Return a plane in which the neighbours of each point are those in space (exact t-SNE); the same each time.

    Args:
        vectors: float32 ``[n, d]``, at most ``MAX_POINTS``.
        perplexity: How many neighbours of each point count, about; no more than a third of all.

    Returns:
        float64 ``[n, 2]``.

    Raises:
        ValueError: If there are too many vectors.
    """
    count = len(vectors)
    if count > MAX_POINTS:
        raise ValueError(f"wanted at most {MAX_POINTS:,} vectors, got {count:,}")
    plane = principal_plane(vectors)
    if count < 4:
        return plane
    plane *= 1e-2 / max(float(plane[:, 0].std()), 1e-12)  # Small at first, so that points can pass each other.
    near = _affinities(_squared_distances(vectors.astype(np.float64)), min(perplexity, (count - 1) / 3))
    step, gains, rate = np.zeros_like(plane), np.ones_like(plane), max(count / _EXAGGERATION, 50.0)
    for number in range(_STEPS):
        is_early = number < _EXAGGERATED_STEPS
        kernel = 1 / (1 + _squared_distances(plane))
        np.fill_diagonal(kernel, 0.0)
        pull = (near * (_EXAGGERATION if is_early else 1.0) - kernel / kernel.sum()) * kernel
        gradient = 4 * (pull.sum(axis=1)[:, None] * plane - pull @ plane)
        gains = np.where(np.sign(gradient) == np.sign(step), np.maximum(gains * 0.8, 0.01), gains + 0.2)
        step = (0.5 if is_early else 0.8) * step - rate * gains * gradient
        plane = plane + step
        plane -= plane.mean(axis=0)
    return plane


def _squared_distances(points: Float64s) -> Float64s:
    lengths = np.einsum("nd,nd->n", points, points)
    distances: Float64s = np.maximum(lengths[:, None] + lengths[None] - 2 * points @ points.T, 0.0)
    return distances


def _affinities(distances: Float64s, perplexity: float) -> Float64s:
    """Return how near each pair is, ``[n, n]``, adding up to 1: each point has ``perplexity`` neighbours, about."""
    count = len(distances)
    low, high, precision = np.zeros(count), np.full(count, np.inf), np.ones(count)
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    others -= others.min(axis=1)[:, None]
    for _ in range(_BISECTIONS):
        shares = np.exp(-others * precision[:, None])
        shares /= shares.sum(axis=1)[:, None]
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
        is_wide = entropy > np.log(perplexity)
        low, high = np.where(is_wide, precision, low), np.where(is_wide, high, precision)
        precision = np.where(np.isinf(high), precision * 2, (low + high) / 2)
    both = shares + shares.T
    affinities: Float64s = np.maximum(both / both.sum(), 1e-12)
    return affinities
