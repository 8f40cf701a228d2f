"""NumPy arrays as compiled loops take them: pointers, handed out once type and layout are checked.

Numbers in an array are contiguous, in C order, aligned, and in the machine's order of bytes. A check costs a fraction of
what a typed memoryview does, which would be most of the cost of a small batch.
The caller holds the array while it uses the pointer. Lengths are not checked: a kernel's caller has done so.
"""

cimport numpy as cnp
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef inline void* _checked(cnp.ndarray array, int type_number, int same_type, bint is_output, str wanted) except? NULL:
    if array is None or cnp.PyArray_TYPE(array) not in (type_number, same_type) or not (
        cnp.PyArray_ISCARRAY(array) if is_output else cnp.PyArray_ISCARRAY_RO(array)
    ):
        given = <object> array
        got = "None" if array is None else f"{given.dtype} of strides {given.strides}, writeable {given.flags.writeable}"
        raise TypeError(f"wanted a contiguous array of {wanted}{', to write to' if is_output else ''}, got {got}")
    return cnp.PyArray_DATA(array)


# For reading. NumPy has two types of 64 bits that are the same on most machines.

cdef inline const uint8_t* bools(cnp.ndarray array) except? NULL:
    return <const uint8_t*> _checked(array, cnp.NPY_BOOL, cnp.NPY_BOOL, False, "bool")


cdef inline const int8_t* int8s(cnp.ndarray array) except? NULL:
    return <const int8_t*> _checked(array, cnp.NPY_INT8, cnp.NPY_INT8, False, "int8")


cdef inline const uint8_t* uint8s(cnp.ndarray array) except? NULL:
    return <const uint8_t*> _checked(array, cnp.NPY_UINT8, cnp.NPY_UINT8, False, "uint8")


cdef inline const int32_t* int32s(cnp.ndarray array) except? NULL:
    return <const int32_t*> _checked(array, cnp.NPY_INT32, cnp.NPY_INT32, False, "int32")


cdef inline const uint32_t* uint32s(cnp.ndarray array) except? NULL:
    return <const uint32_t*> _checked(array, cnp.NPY_UINT32, cnp.NPY_UINT32, False, "uint32")


cdef inline const int64_t* int64s(cnp.ndarray array) except? NULL:
    return <const int64_t*> _checked(array, cnp.NPY_INT64, cnp.NPY_LONGLONG, False, "int64")


cdef inline const uint64_t* uint64s(cnp.ndarray array) except? NULL:
    return <const uint64_t*> _checked(array, cnp.NPY_UINT64, cnp.NPY_ULONGLONG, False, "uint64")


cdef inline const float* float32s(cnp.ndarray array) except? NULL:
    return <const float*> _checked(array, cnp.NPY_FLOAT32, cnp.NPY_FLOAT32, False, "float32")


cdef inline const double* float64s(cnp.ndarray array) except? NULL:
    return <const double*> _checked(array, cnp.NPY_FLOAT64, cnp.NPY_FLOAT64, False, "float64")


# For writing.

cdef inline uint8_t* out_bools(cnp.ndarray array) except? NULL:
    return <uint8_t*> _checked(array, cnp.NPY_BOOL, cnp.NPY_BOOL, True, "bool")


cdef inline uint8_t* out_uint8s(cnp.ndarray array) except? NULL:
    return <uint8_t*> _checked(array, cnp.NPY_UINT8, cnp.NPY_UINT8, True, "uint8")


cdef inline int16_t* out_int16s(cnp.ndarray array) except? NULL:
    return <int16_t*> _checked(array, cnp.NPY_INT16, cnp.NPY_INT16, True, "int16")


cdef inline int8_t* out_int8s(cnp.ndarray array) except? NULL:
    return <int8_t*> _checked(array, cnp.NPY_INT8, cnp.NPY_INT8, True, "int8")


cdef inline int32_t* out_int32s(cnp.ndarray array) except? NULL:
    return <int32_t*> _checked(array, cnp.NPY_INT32, cnp.NPY_INT32, True, "int32")


cdef inline uint32_t* out_uint32s(cnp.ndarray array) except? NULL:
    return <uint32_t*> _checked(array, cnp.NPY_UINT32, cnp.NPY_UINT32, True, "uint32")


cdef inline int64_t* out_int64s(cnp.ndarray array) except? NULL:
    return <int64_t*> _checked(array, cnp.NPY_INT64, cnp.NPY_LONGLONG, True, "int64")


cdef inline uint64_t* out_uint64s(cnp.ndarray array) except? NULL:
    return <uint64_t*> _checked(array, cnp.NPY_UINT64, cnp.NPY_ULONGLONG, True, "uint64")


cdef inline float* out_float32s(cnp.ndarray array) except? NULL:
    return <float*> _checked(array, cnp.NPY_FLOAT32, cnp.NPY_FLOAT32, True, "float32")


cdef inline double* out_float64s(cnp.ndarray array) except? NULL:
    return <double*> _checked(array, cnp.NPY_FLOAT64, cnp.NPY_FLOAT64, True, "float64")
