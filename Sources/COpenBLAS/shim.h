// CBLAS matrix products, and LAPACK's symmetric eigensolver by its Fortran symbol.
#include <cblas.h>

void dsyevd_(
    const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w,
    double *work, const int *lwork, int *iwork, const int *liwork, int *info);
