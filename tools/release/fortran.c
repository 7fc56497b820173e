// SPDX-License-Identifier: Apache-2.0
//
// The one function of GNU Fortran's runtime that LAPACK's solvers call: what is left of it where they
// are linked statically. The whole runtime would bring its input and output, and code that runs
// before main.

#include <string.h>

// `result` becomes a and b, one after the other, cut or filled up with blanks.
void _gfortran_concat_string(
    size_t size, char *result, size_t a_size, const char *a, size_t b_size, const char *b)
{
    if (a_size > size) a_size = size;
    memcpy(result, a, a_size);
    size_t rest = size - a_size;
    if (b_size > rest) b_size = rest;
    memcpy(result + a_size, b, b_size);
    memset(result + a_size + b_size, ' ', rest - b_size);
}
