"""The compiled loops of the likelihood: moments of features under the softmax of each choice's scores."""

from libc.math cimport exp, expf, log
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from springtide.arrays cimport float32s, int64s, out_float32s, out_float64s, uint8s


def add_moments(features, is_seen, corrections, stops, exponents, scores, weighted, expected):
    """Add up the expected features of all choices, and return the sum of their log-sum-exps.

    Args:
        features: float32 ``[num_rows, num_features]``.
        is_seen: uint8 ``[num_rows]``, 0 or 1: which of the two rows of ``exponents`` applies.
        corrections: float32 ``[num_rows]``, added to the log odds.
        stops: int64 ``[num_choices]``, where the segment of each choice ends.
        exponents: float32 ``[2, num_features]``.
        scores: Scratch, float32 ``[num_rows]``.
        weighted: Scratch, float32 ``[2, num_features]``.
        expected: Output, float64 ``[2, num_features]``, added to.
    """
    return _add_moments(
        len(stops), features.shape[1], float32s(features), uint8s(is_seen), float32s(corrections), int64s(stops),
        float32s(exponents), out_float32s(scores), out_float32s(weighted), out_float64s(expected),
    )


cdef double _add_moments(
    Py_ssize_t num_choices, Py_ssize_t num_features, const float* features, const uint8_t* is_seen,
    const float* corrections, const int64_t* stops, const float* exponents, float* scores, float* weighted,
    double* expected,
) noexcept:
    cdef Py_ssize_t choice, feature
    cdef int64_t row, start = 0
    cdef float score, highest, odds, total
    cdef const float* of_row
    cdef const float* of_side
    cdef float* sums
    cdef double log_total = 0.0
    with nogil:
        for choice in range(num_choices):
            highest = -3e38
            for row in range(start, stops[choice]):
                of_row, of_side = features + row * num_features, exponents + is_seen[row] * num_features
                score = corrections[row]
                for feature in range(num_features):
                    score += of_row[feature] * of_side[feature]
                scores[row] = score
                if score > highest:
                    highest = score
            total = 0.0
            memset(weighted, 0, 2 * num_features * sizeof(float))
            for row in range(start, stops[choice]):
                of_row, sums = features + row * num_features, weighted + is_seen[row] * num_features
                odds = expf(scores[row] - highest)
                total += odds
                for feature in range(num_features):
                    sums[feature] += odds * of_row[feature]
            log_total += log(total) + highest
            for feature in range(2 * num_features):
                expected[feature] += weighted[feature] / total
            start = stops[choice]
    return log_total


def add_covariances(features, is_seen, corrections, stops, exponents, scores, second, first, covariance):
    """Add up the covariances of the features of all choices; those of unseen items come first.

    Args:
        features: As in ``add_moments``, as are the next four.
        is_seen: See there.
        corrections: See there.
        stops: See there.
        exponents: See there.
        scores: Scratch, float32 ``[num_rows]``.
        second: Scratch, float64 ``[2 num_features, 2 num_features]``.
        first: Scratch, float64 ``[2 num_features]``.
        covariance: Output, float64 ``[2 num_features, 2 num_features]``, added to.
    """
    _add_covariances(
        len(stops), features.shape[1], float32s(features), uint8s(is_seen), float32s(corrections), int64s(stops),
        float32s(exponents), out_float32s(scores), out_float64s(second), out_float64s(first),
        out_float64s(covariance),
    )


cdef void _add_covariances(
    Py_ssize_t num_choices, Py_ssize_t num_features, const float* features, const uint8_t* is_seen,
    const float* corrections, const int64_t* stops, const float* exponents, float* scores, double* second,
    double* first, double* covariance,
) noexcept:
    cdef Py_ssize_t choice, feature, one, other, shift, width = 2 * num_features
    cdef int64_t row, start = 0
    cdef float score, highest
    cdef double odds, total, scaled, shared
    cdef const float* of_row
    cdef const float* of_side
    cdef double* sums
    with nogil:
        for choice in range(num_choices):
            highest = -3e38
            for row in range(start, stops[choice]):
                of_row, of_side = features + row * num_features, exponents + is_seen[row] * num_features
                score = corrections[row]
                for feature in range(num_features):
                    score += of_row[feature] * of_side[feature]
                scores[row] = score
                if score > highest:
                    highest = score
            total = 0.0
            memset(second, 0, width * width * sizeof(double))
            memset(first, 0, width * sizeof(double))
            for row in range(start, stops[choice]):
                of_row, shift = features + row * num_features, is_seen[row] * num_features
                odds = exp(scores[row] - highest)
                total += odds
                for one in range(num_features):
                    scaled = odds * of_row[one]
                    first[shift + one] += scaled
                    sums = second + (shift + one) * width + shift
                    for other in range(one + 1):  # The lower half: the matrix is symmetric.
                        sums[other] += scaled * of_row[other]
            for one in range(width):
                for other in range(one + 1):
                    shared = second[one * width + other] / total - first[one] * first[other] / (total * total)
                    covariance[one * width + other] += shared
                    if other != one:
                        covariance[other * width + one] += shared
            start = stops[choice]
