"""The compiled loop of the binary cross entropy of a block."""

from libc.stdint cimport int64_t, uint8_t

from springtide.arrays cimport bools, float32s, out_float32s, out_float64s

cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>
    #include <string.h>

    /* Eight numbers side by side: the compiler uses the widest instructions that the machine has. */
    typedef float springtide_8 __attribute__((vector_size(32), aligned(4), may_alias));
    typedef uint8_t springtide_8b __attribute__((vector_size(8)));
    typedef int32_t springtide_8i __attribute__((vector_size(32), aligned(4), may_alias));

    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
    #define SPRINGTIDE_CLONES __attribute__((target_clones("avx2", "default")))
    #else
    #define SPRINGTIDE_CLONES
    #endif
    #define SPRINGTIDE_ALL(x) ((springtide_8){x, x, x, x, x, x, x, x})
    #define SPRINGTIDE_CHOSEN(mask, value) ((springtide_8)((springtide_8i)(value) & (mask)))

    /* Factors of 1 to 2 that are multiplied before a logarithm is taken: their product stays finite. */
    #define SPRINGTIDE_FACTORS 64

    /* The entries of a row: what `rows_of_entropies` says. `count` is a multiple of 8. */
    static inline __attribute__((always_inline)) double springtide_entropies(
        const float* cosines, const uint8_t* is_one, int64_t count, float scale, float of_one, float of_zero,
        float* gradients
    ) {
        springtide_8 straight = SPRINGTIDE_ALL(0.0f), zeros = SPRINGTIDE_ALL(1.0f), ones = SPRINGTIDE_ALL(1.0f);
        double total = 0.0;
        int factors = 0;
        for (int64_t at = 0; at < count; at += 8) {
            springtide_8 x = *(const springtide_8*)(cosines + at) * scale;
            springtide_8b marks;
            memcpy(&marks, is_one + at, 8);
            springtide_8i one = __builtin_convertvector(marks, springtide_8i) != 0;
            springtide_8i is_positive = x > 0.0f;
            springtide_8 size = SPRINGTIDE_CHOSEN(0x7fffffff, x);
            springtide_8i is_large = size > 87.0f;
            springtide_8 y = -(SPRINGTIDE_CHOSEN(~is_large, size) + SPRINGTIDE_CHOSEN(is_large, SPRINGTIDE_ALL(87.0f)));

            /* exp(y) = 2^n exp(r), with r within half of log 2 and a polynomial (Moshier's Cephes, expf). */
            springtide_8 shifted = y * 1.44269504088896341f + 12582912.0f;
            springtide_8 whole = shifted - 12582912.0f;
            springtide_8 r = (y - whole * 0.693359375f) + whole * 2.12194440e-4f;
            springtide_8 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
            p = p * r + 8.3334519073e-3f;
            p = p * r + 4.1665795894e-2f;
            p = p * r + 1.6666665459e-1f;
            p = p * r + 5.0000001201e-1f;
            p = (p * r * r + r) + 1.0f;
            springtide_8 e = (springtide_8)((springtide_8i)p + ((springtide_8i)shifted << 23));

            springtide_8 inverse = 1.0f / (1.0f + e);
            springtide_8 chance = SPRINGTIDE_CHOSEN(is_positive, inverse) + SPRINGTIDE_CHOSEN(~is_positive, e * inverse);
            springtide_8 share = SPRINGTIDE_CHOSEN(one, SPRINGTIDE_ALL(of_one)) +
                                 SPRINGTIDE_CHOSEN(~one, SPRINGTIDE_ALL(of_zero));
            springtide_8 wrong = chance - SPRINGTIDE_CHOSEN(one, SPRINGTIDE_ALL(1.0f));
            *(springtide_8*)(gradients + at) = wrong * (share * scale);

            /* -log of a chance is max(x, 0) + log(1 + e), and the logarithms of many are that of their product. */
            straight += share * (SPRINGTIDE_CHOSEN(is_positive & ~one, x) - SPRINGTIDE_CHOSEN(~is_positive & one, x));
            zeros *= 1.0f + SPRINGTIDE_CHOSEN(~one, e);
            ones *= 1.0f + SPRINGTIDE_CHOSEN(one, e);
            if (++factors == SPRINGTIDE_FACTORS || at + 8 >= count) {
                for (int lane = 0; lane < 8; lane++)
                    total += (double)of_zero * log((double)zeros[lane]) + (double)of_one * log((double)ones[lane]);
                zeros = SPRINGTIDE_ALL(1.0f);
                ones = SPRINGTIDE_ALL(1.0f);
                factors = 0;
            }
        }
        for (int lane = 0; lane < 8; lane++) total += (double)straight[lane];
        return total;
    }

    SPRINGTIDE_CLONES
    static void springtide_rows_of_entropies(
        const float* cosines, const uint8_t* is_one, int64_t first, int64_t stop, int64_t count, float scale,
        float of_one, const float* of_zero, float* gradients, double* entropies
    ) {
        int64_t whole = count / 8 * 8, left = count - whole;
        for (int64_t row = first; row < stop; row++) {
            int64_t at = row * count;
            entropies[row] = springtide_entropies(
                cosines + at, is_one + at, whole, scale, of_one, of_zero[row], gradients + at);
            if (left) {  /* The last ones, filled up with zeros that are certain: they add nothing. */
                float some[8], found[8];
                uint8_t marks[8] = {0, 0, 0, 0, 0, 0, 0, 0};
                for (int each = 0; each < 8; each++) some[each] = -100.0f / scale;
                memcpy(some, cosines + at + whole, left * sizeof(float));
                memcpy(marks, is_one + at + whole, left);
                entropies[row] += springtide_entropies(some, marks, 8, scale, of_one, of_zero[row], found);
                memcpy(gradients + at + whole, found, left * sizeof(float));
            }
        }
    }
    """
    void rows_of_entropies "springtide_rows_of_entropies"(
        const float* cosines, const uint8_t* is_one, int64_t first, int64_t stop, int64_t count, float scale,
        float of_one, const float* of_zero, float* gradients, double* entropies
    ) noexcept nogil


def cross_entropies(cosines, is_one, first, stop, temperature, of_one, of_zero, gradients, entropies):
    """Compute the binary cross entropy of some rows of a block, and its gradient, in one pass.

    An entry's logit is its cosine over the temperature; its entropy is multiplied by what it counts.

    Args:
        cosines: float32 ``[n, m]``.
        is_one: bool ``[n, m]``, which entries are ones.
        first: The first row.
        stop: The row to stop before.
        temperature: Above 0.
        of_one: What each one counts.
        of_zero: float32 ``[n]``, what each zero of a row counts.
        gradients: Output, float32 ``[n, m]``: the gradient of each cosine.
        entropies: Output, float64 ``[n]``: the sum of each row.
    """
    cdef const float* given = float32s(cosines)
    cdef const uint8_t* marks = bools(is_one)
    cdef const float* shares = float32s(of_zero)
    cdef float* to = out_float32s(gradients)
    cdef double* sums = out_float64s(entropies)
    cdef int64_t low = first, high = stop, count = cosines.shape[1]
    cdef float scale = 1.0 / temperature, share = of_one
    with nogil:
        rows_of_entropies(given, marks, low, high, count, scale, share, shares, to, sums)
