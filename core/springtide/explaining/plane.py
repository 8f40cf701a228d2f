"""Vectors in two dimensions, so that near ones are near: principal components, and t-SNE from there."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

MAX_POINTS = 2_000  # t-SNE holds a few square matrices: 32 MB each for so many.
_STEPS, _EXAGGERATED_STEPS, _EXAGGERATION = 250, 75, 12.0
_BISECTIONS = 40
_PLACED_BETWEEN, _PLACED_AT_ONCE = 3, 512
_NEAR_ENOUGH = 3  # Times the perplexity: neighbours that may count.


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
    flat = principal_plane(vectors)
    if count < 4:
        return flat
    flat *= 1e-2 / max(float(flat[:, 0].std()), 1e-12)  # Small at first, so that points can pass each other.
    plane = flat.astype(np.float32)
    near = _affinities(vectors, min(perplexity, (count - 1) / 3))
    step, gains, rate = np.zeros_like(plane), np.ones_like(plane), np.float32(max(count / _EXAGGERATION, 50.0))
    kernel, pull = np.empty_like(near), np.empty_like(near)
    near *= np.float32(_EXAGGERATION)
    for number in range(_STEPS):
        if number == _EXAGGERATED_STEPS:
            near /= np.float32(_EXAGGERATION)
        # In place, since memory is what takes the time: 1 / (1 + squared distance), then what it pulls and pushes.
        lengths = np.einsum("nd,nd->n", plane, plane)
        np.matmul(plane * np.float32(-2), plane.T, out=kernel)
        kernel += lengths[:, None]
        kernel += (lengths + 1)[None]
        np.maximum(kernel, np.float32(1), out=kernel)
        np.reciprocal(kernel, out=kernel)
        np.fill_diagonal(kernel, 0.0)
        np.multiply(kernel, np.float32(-1 / kernel.sum()), out=pull)
        pull += near
        pull *= kernel
        gradient = 4 * (pull.sum(axis=1)[:, None] * plane - pull @ plane)
        gains = np.where(np.sign(gradient) == np.sign(step), np.maximum(gains * 0.8, 0.01), gains + 0.2)
        step = np.float32(0.5 if number < _EXAGGERATED_STEPS else 0.8) * step - rate * gains * gradient
        plane = plane + step
        plane -= plane.mean(axis=0)
    return plane.astype(np.float64)


def placed_between(vectors: Array, known: Array, plane: Float64s) -> Float64s:
    """Return where others lie in a plane: between the three that are nearest to each in space, the nearer the closer.

    Args:
        vectors: float32 ``[m, d]``, unit vectors.
        known: float32 ``[n, d]``, unit vectors of those whose places are known; without any, all lie at 0.
        plane: float64 ``[n, 2]``, their places.

    Returns:
        float64 ``[m, 2]``.
    """
    num_near = min(_PLACED_BETWEEN, len(known))
    found = np.zeros((len(vectors), 2))
    for start in range(0, len(vectors) if num_near else 0, _PLACED_AT_ONCE):
        cosines = vectors[start : start + _PLACED_AT_ONCE] @ known.T
        nearest = np.argpartition(-cosines, num_near - 1, axis=1)[:, :num_near]
        distances = np.maximum(1.0 - np.take_along_axis(cosines, nearest, axis=1).astype(np.float64), 1e-6)
        shares = 1 / distances
        shares /= shares.sum(axis=1)[:, None]
        found[start : start + _PLACED_AT_ONCE] = np.einsum("mk,mkd->md", shares, plane[nearest])
    return found


def _affinities(vectors: Array, perplexity: float) -> Array:
    """Return how near each pair is, float32 ``[n, n]``, adding up to 1: about ``perplexity`` neighbours for each point.

    Those beyond three times as many are too far to count.
    """
    count, num_near = len(vectors), min(len(vectors) - 1, int(_NEAR_ENOUGH * perplexity) + 1)
    points = vectors - vectors.mean(axis=0)
    lengths = np.einsum("nd,nd->n", points, points)
    distances = np.maximum(lengths[:, None] + lengths[None] - 2 * points @ points.T, 0.0)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, num_near - 1, axis=1)[:, :num_near]
    others = np.take_along_axis(distances, nearest, axis=1).astype(np.float64)
    others -= others.min(axis=1)[:, None]
    low, high, precision = np.zeros(count), np.full(count, np.inf), np.ones(count)
    for _ in range(_BISECTIONS):
        shares = np.exp(-others * precision[:, None])
        shares /= shares.sum(axis=1)[:, None]
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
        is_wide = entropy > np.log(perplexity)
        low, high = np.where(is_wide, precision, low), np.where(is_wide, high, precision)
        precision = np.where(np.isinf(high), precision * 2, (low + high) / 2)
    affinities = np.zeros((count, count), np.float32)
    np.put_along_axis(affinities, nearest, (shares / (2 * count)).astype(np.float32), axis=1)
    both: Array = affinities + affinities.T
    return both
