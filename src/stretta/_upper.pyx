# cython: language_level=3
"""Upper case of ASCII, 16 to 64 bytes at a time, as many as the processor can take.

Compiled with Cython where a C compiler is; ``upper.py`` does without it otherwise.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

__all__ = ["simple_upper", "upper_ascii"]

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
    /* one version a kind of processor; the right one is chosen when the module is loaded */
    __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
    #endif
    static unsigned char raise_case(char *to, const char *from, size_t length)
    {
        unsigned char seen = 0;
        for (size_t i = 0; i < length; i++) {
            unsigned char c = (unsigned char)from[i];
            seen |= c;
            to[i] = (char)(c - ((unsigned char)(c - 'a') < 26 ? 32 : 0));
        }
        return seen;
    }
    """
    unsigned char raise_case(char *to, const char *source, size_t length) nogil


def simple_upper(data):
    """Return the data in upper case if it is ASCII; else None."""
    cdef unsigned char seen
    reply = raised(data, &seen)
    return reply if seen < 0x80 else None


def upper_ascii(data):
    """Return the data with a-z in upper case and every other byte as it was.

    >>> upper_ascii("perché".encode()).decode()
    'PERCHé'
    """
    cdef unsigned char seen
    return raised(data, &seen)


cdef bytes raised(data, unsigned char *seen):
    """Return the data in upper case; ``seen`` are the bits that any of its bytes has."""
    cdef Py_buffer view
    cdef bytes reply
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        reply = PyBytes_FromStringAndSize(NULL, view.len)
        seen[0] = raise_case(PyBytes_AS_STRING(reply), <const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return reply
