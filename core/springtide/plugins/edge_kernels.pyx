"""The compiled loops along edges: they add up the values of neighbours, and multiply those of both ends."""

from libc.stdint cimport int64_t

from springtide.arrays cimport float32s, int64s, out_float32s

cdef extern from *:
    """
    /* Numbers side by side: the compiler uses the widest instructions that the machine has. Each sum is in the order of
       its edges, so that all machines get the same. */
    typedef float springtide_8 __attribute__((vector_size(32), aligned(4), may_alias));

    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
    #define SPRINGTIDE_CLONES __attribute__((target_clones("avx2", "default")))
    #else
    #define SPRINGTIDE_CLONES
    #endif

    /* Edges whose values are fetched before they are needed: most of the time would be a wait for memory. */
    #define SPRINGTIDE_AHEAD 12

    SPRINGTIDE_CLONES
    static void springtide_neighbour_sums(
        const int64_t* pointers, const int64_t* source, const float* weight, const float* values, int64_t num_edges,
        int64_t width, int64_t first, int64_t stop, float* sums
    ) {
        for (int64_t row = first; row < stop; row++) {
            float* sum = sums + row * width;
            int64_t begin = pointers[row], end = pointers[row + 1], at = 0;
            for (; at + 64 <= width; at += 64) {
                springtide_8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, s4 = {0}, s5 = {0}, s6 = {0}, s7 = {0};
                for (int64_t edge = begin; edge < end; edge++) {
                    const springtide_8* value = (const springtide_8*)(values + source[edge] * width + at);
                    float factor = weight[edge];
                    springtide_8 by = {factor, factor, factor, factor, factor, factor, factor, factor};
                    if (edge + SPRINGTIDE_AHEAD < num_edges) {
                        const float* next = values + source[edge + SPRINGTIDE_AHEAD] * width + at;
                        __builtin_prefetch(next);
                        __builtin_prefetch(next + 16);
                        __builtin_prefetch(next + 32);
                        __builtin_prefetch(next + 48);
                    }
                    s0 += by * value[0]; s1 += by * value[1]; s2 += by * value[2]; s3 += by * value[3];
                    s4 += by * value[4]; s5 += by * value[5]; s6 += by * value[6]; s7 += by * value[7];
                }
                springtide_8* to = (springtide_8*)(sum + at);
                to[0] = s0; to[1] = s1; to[2] = s2; to[3] = s3; to[4] = s4; to[5] = s5; to[6] = s6; to[7] = s7;
            }
            for (; at + 8 <= width; at += 8) {
                springtide_8 s0 = {0};
                for (int64_t edge = begin; edge < end; edge++) {
                    float factor = weight[edge];
                    springtide_8 by = {factor, factor, factor, factor, factor, factor, factor, factor};
                    s0 += by * *(const springtide_8*)(values + source[edge] * width + at);
                }
                *(springtide_8*)(sum + at) = s0;
            }
            for (; at < width; at++) {
                float s0 = 0;
                for (int64_t edge = begin; edge < end; edge++) s0 += weight[edge] * values[source[edge] * width + at];
                sum[at] = s0;
            }
        }
    }

    SPRINGTIDE_CLONES
    static void springtide_end_products(
        const int64_t* pointers, const int64_t* source, const float* of_targets, const float* of_sources,
        int64_t num_edges, int64_t width, int64_t first, int64_t stop, float* products
    ) {
        for (int64_t row = first; row < stop; row++) {
            const float* one = of_targets + row * width;
            for (int64_t edge = pointers[row]; edge < pointers[row + 1]; edge++) {
                const float* other = of_sources + source[edge] * width;
                if (edge + SPRINGTIDE_AHEAD < num_edges) {
                    const float* next = of_sources + source[edge + SPRINGTIDE_AHEAD] * width;
                    for (int64_t line = 0; line < width; line += 16) __builtin_prefetch(next + line);
                }
                springtide_8 sums = {0};
                int64_t at = 0;
                for (; at + 8 <= width; at += 8)
                    sums += *(const springtide_8*)(one + at) * *(const springtide_8*)(other + at);
                float product = 0;
                for (int64_t lane = 0; lane < 8; lane++) product += sums[lane];
                for (; at < width; at++) product += one[at] * other[at];
                products[edge] = product;
            }
        }
    }
    """
    void neighbour_sums "springtide_neighbour_sums"(
        const int64_t* pointers, const int64_t* source, const float* weight, const float* values, int64_t num_edges,
        int64_t width, int64_t first, int64_t stop, float* sums
    ) noexcept nogil
    void end_products "springtide_end_products"(
        const int64_t* pointers, const int64_t* source, const float* of_targets, const float* of_sources,
        int64_t num_edges, int64_t width, int64_t first, int64_t stop, float* products
    ) noexcept nogil


def add_up_neighbours(pointers, source, weight, values, first, stop, sums):
    """Add up, at some targets, the values of their sources times the weights of the edges.

    Args:
        pointers: int64 ``[num_targets + 1]``, where the edges of each target begin.
        source: int64 ``[num_edges]``, rows of ``values``.
        weight: float32 ``[num_edges]``.
        values: float32 ``[num_sources, d]``.
        first: The first target.
        stop: The target to stop before.
        sums: Output, float32 ``[num_targets, d]``: the rows from ``first`` up to ``stop`` are written.
    """
    cdef const int64_t* begin = int64s(pointers)
    cdef const int64_t* rows = int64s(source)
    cdef const float* factors = float32s(weight)
    cdef const float* given = float32s(values)
    cdef float* to = out_float32s(sums)
    cdef int64_t num_edges = len(source), width = values.shape[1], low = first, high = stop
    with nogil:
        neighbour_sums(begin, rows, factors, given, num_edges, width, low, high, to)


def multiply_ends(pointers, source, of_targets, of_sources, first, stop, products):
    """Multiply the vectors of both ends of the edges of some targets.

    Args:
        pointers: int64 ``[num_targets + 1]``, where the edges of each target begin.
        source: int64 ``[num_edges]``, rows of ``of_sources``.
        of_targets: float32 ``[num_targets, d]``.
        of_sources: float32 ``[num_sources, d]``.
        first: The first target.
        stop: The target to stop before.
        products: Output, float32 ``[num_edges]``: those of the edges of the targets from ``first`` up to ``stop``.
    """
    cdef const int64_t* begin = int64s(pointers)
    cdef const int64_t* rows = int64s(source)
    cdef const float* ones = float32s(of_targets)
    cdef const float* others = float32s(of_sources)
    cdef float* to = out_float32s(products)
    cdef int64_t num_edges = len(source), width = of_targets.shape[1], low = first, high = stop
    with nogil:
        end_products(begin, rows, ones, others, num_edges, width, low, high, to)
