"""Products of two vectors, and how large one may be.

A product is made in 16 lanes that are added up in a fixed order: it is the same to the last bit wherever it is made.
"""

from libc.math cimport INFINITY, fabs, isnan, sqrt


cdef extern from *:
    """
    #ifndef SPRINGTIDE_DOT
    #define SPRINGTIDE_DOT
    typedef float springtide_4 __attribute__((vector_size(16), aligned(4)));

    static inline float springtide_dot(const float* a, const float* b, int width) {
        springtide_4 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        float lane[16], total[4];
        int at = 0, tail = 0;
        for (; at + 16 <= width; at += 16) {
            s0 += *(const springtide_4*)(a + at) * *(const springtide_4*)(b + at);
            s1 += *(const springtide_4*)(a + at + 4) * *(const springtide_4*)(b + at + 4);
            s2 += *(const springtide_4*)(a + at + 8) * *(const springtide_4*)(b + at + 8);
            s3 += *(const springtide_4*)(a + at + 12) * *(const springtide_4*)(b + at + 12);
        }
        if (at < width) {
            *(springtide_4*)lane = s0; *(springtide_4*)(lane + 4) = s1;
            *(springtide_4*)(lane + 8) = s2; *(springtide_4*)(lane + 12) = s3;
            for (; at < width; at++, tail++) lane[tail] += a[at] * b[at];
            s0 = *(springtide_4*)lane; s1 = *(springtide_4*)(lane + 4);
            s2 = *(springtide_4*)(lane + 8); s3 = *(springtide_4*)(lane + 12);
        }
        *(springtide_4*)total = (s0 + s2) + (s1 + s3);
        return (total[0] + total[2]) + (total[1] + total[3]);
    }

    static inline void springtide_prefetch(const float* at, int width) {
        for (int each = 0; each < width; each += 16) __builtin_prefetch(at + each);
    }
    #endif
    """
    float dot "springtide_dot"(const float* a, const float* b, int width) noexcept nogil
    void prefetch "springtide_prefetch"(const float* at, int width) noexcept nogil


cdef inline double reach_of(const float* user, int width, double factor, double longest) noexcept nogil:
    """Return the most that a cosine adds to a value, rounding included; infinity if the user's vector is no vector.

    The cosines are products with vectors of at most the length ``longest``.
    """
    cdef double length = 0.0, reach
    cdef int each
    for each in range(width):
        length += <double> user[each] * user[each]
    reach = fabs(factor) * sqrt(length) * longest * (1.00001 + 1e-7 * width)
    return INFINITY if isnan(reach) else reach
