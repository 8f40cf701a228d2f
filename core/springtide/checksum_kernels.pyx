"""Reading files with their CRC-32C, piece by piece, while other Python threads run.

A thread that asked for Python's lock after each piece would mostly wait for it wherever another one runs Python code.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from posix.unistd cimport read

import os


cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>
    #if defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
    #include <arm_acle.h>
    #endif

    #define LANE 4096  /* Bytes: three lanes at once, since an instruction takes three cycles, and one may begin in each. */
    #define POLYNOMIAL 0x82F63B78u  /* Castagnoli's, its bits reversed. */

    static uint32_t crc_of_byte[8][256];  /* Of a byte with 0 to 7 zero bytes behind it. */
    static uint32_t crc_past_lane[4][256];  /* What a byte of a sum becomes once a lane of zero bytes has come. */
    static int has_instruction = 0;

    static void make_crc_tables(void) {
        uint32_t sum, byte, bit, past[32];
        int at;
        for (byte = 0; byte < 256; byte++) {
            sum = byte;
            for (bit = 0; bit < 8; bit++)
                sum = sum & 1 ? (sum >> 1) ^ POLYNOMIAL : sum >> 1;
            crc_of_byte[0][byte] = sum;
        }
        for (at = 1; at < 8; at++)
            for (byte = 0; byte < 256; byte++)
                crc_of_byte[at][byte] = crc_of_byte[0][crc_of_byte[at - 1][byte] & 255] ^ (crc_of_byte[at - 1][byte] >> 8);
        for (bit = 0; bit < 32; bit++) {
            sum = (uint32_t) 1 << bit;
            for (at = 0; at < LANE; at++)
                sum = crc_of_byte[0][sum & 255] ^ (sum >> 8);
            past[bit] = sum;
        }
        for (at = 0; at < 4; at++)
            for (byte = 0; byte < 256; byte++) {
                sum = 0;
                for (bit = 0; bit < 8; bit++)
                    if (byte >> bit & 1)
                        sum ^= past[8 * at + bit];
                crc_past_lane[at][byte] = sum;
            }
    #if defined(__x86_64__)
        __builtin_cpu_init();
        has_instruction = __builtin_cpu_supports("sse4.2");
    #elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
        has_instruction = 1;
    #endif
    }

    static uint32_t crc_by_tables(uint32_t sum, const uint8_t *bytes, size_t length) {
        for (; length >= 8; bytes += 8, length -= 8)
            sum = crc_of_byte[7][(sum ^ bytes[0]) & 255] ^ crc_of_byte[6][((sum >> 8) ^ bytes[1]) & 255]
                ^ crc_of_byte[5][((sum >> 16) ^ bytes[2]) & 255] ^ crc_of_byte[4][(sum >> 24) ^ bytes[3]]
                ^ crc_of_byte[3][bytes[4]] ^ crc_of_byte[2][bytes[5]] ^ crc_of_byte[1][bytes[6]] ^ crc_of_byte[0][bytes[7]];
        for (; length; bytes++, length--)
            sum = crc_of_byte[0][(sum ^ *bytes) & 255] ^ (sum >> 8);
        return sum;
    }

    #if defined(__x86_64__)
    #define WITH_INSTRUCTION __attribute__((target("sse4.2")))
    #define ADD_EIGHT(sum, word) ((uint32_t) __builtin_ia32_crc32di((sum), (word)))
    #elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
    #define WITH_INSTRUCTION
    #define ADD_EIGHT(sum, word) __crc32cd((sum), (word))
    #endif

    static uint64_t word_at(const uint8_t *bytes) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        return word;
    }

    static uint32_t past_lane(uint32_t sum) {
        return crc_past_lane[0][sum & 255] ^ crc_past_lane[1][(sum >> 8) & 255] ^ crc_past_lane[2][(sum >> 16) & 255]
            ^ crc_past_lane[3][sum >> 24];
    }

    #ifdef WITH_INSTRUCTION
    WITH_INSTRUCTION static uint32_t crc_by_instruction(uint32_t sum, const uint8_t *bytes, size_t length) {
        uint32_t second, third;
        size_t at;
        for (; length >= 3 * LANE; bytes += 3 * LANE, length -= 3 * LANE) {
            second = third = 0;
            for (at = 0; at < LANE; at += 8) {
                sum = ADD_EIGHT(sum, word_at(bytes + at));
                second = ADD_EIGHT(second, word_at(bytes + LANE + at));
                third = ADD_EIGHT(third, word_at(bytes + 2 * LANE + at));
            }
            sum = past_lane(past_lane(sum) ^ second) ^ third;
        }
        for (; length >= 8; bytes += 8, length -= 8)
            sum = ADD_EIGHT(sum, word_at(bytes));
        return crc_by_tables(sum, bytes, length);
    }
    #endif

    static uint32_t crc32c_of(uint32_t value, const uint8_t *bytes, size_t length, int may_use_instruction) {
    #ifdef WITH_INSTRUCTION
        if (has_instruction && may_use_instruction)
            return ~crc_by_instruction(~value, bytes, length);
    #endif
        return ~crc_by_tables(~value, bytes, length);
    }
    """
    void make_crc_tables()
    uint32_t crc32c_of(uint32_t value, const uint8_t* bytes, size_t length, bint may_use_instruction) noexcept nogil


cdef enum:
    PIECE = 1 << 18  # Bytes; still in the processor's own cache when their sum is taken.

make_crc_tables()


def crc32c(content, uint32_t value=0, bint by_tables=False):
    """Return the CRC-32C of what ``value`` is the sum of, and of the content behind it.

    Args:
        content: Bytes.
        value: The sum so far.
        by_tables: Whether to go without the processor's instruction, as where there is none.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(content, &view, PyBUF_SIMPLE)
    with nogil:
        value = crc32c_of(value, <const uint8_t*> view.buf, view.len, not by_tables)
    PyBuffer_Release(&view)
    return value


def read_into(int file, target, uint32_t value):
    """Fill the target from a file, from where it stands.

    Args:
        file: The file's descriptor.
        target: Bytes to write to.
        value: The CRC-32C so far.

    Returns:
        How many bytes there were, fewer only at the end of the file; and the CRC-32C with these.

    Raises:
        OSError: If the file cannot be read.
    """
    cdef Py_buffer view
    cdef Py_ssize_t done = 0, num
    cdef int fault = 0
    PyObject_GetBuffer(target, &view, PyBUF_WRITABLE)
    with nogil:
        while done < view.len:
            num = read(file, <uint8_t*> view.buf + done, min(<Py_ssize_t> PIECE, view.len - done))
            if num < 0 and errno == EINTR:
                continue
            if num <= 0:
                fault = errno if num < 0 else 0
                break
            value = crc32c_of(value, <const uint8_t*> view.buf + done, num, True)
            done += num
    PyBuffer_Release(&view)
    if fault:
        raise OSError(fault, os.strerror(fault))
    return done, value


def read_past(int file, uint32_t value):
    """Read a file from where it stands to its end, and keep nothing of it.

    Args:
        file: The file's descriptor.
        value: The CRC-32C so far.

    Returns:
        How many bytes there were; and the CRC-32C with these.

    Raises:
        OSError: If the file cannot be read.
    """
    cdef uint8_t* piece = <uint8_t*> malloc(PIECE)
    cdef int64_t done = 0
    cdef Py_ssize_t num
    cdef int fault = 0
    if piece == NULL:
        raise MemoryError
    with nogil:
        while True:
            num = read(file, piece, PIECE)
            if num < 0 and errno == EINTR:
                continue
            if num <= 0:
                fault = errno if num < 0 else 0
                break
            value = crc32c_of(value, piece, num, True)
            done += num
    free(piece)
    if fault:
        raise OSError(fault, os.strerror(fault))
    return done, value
