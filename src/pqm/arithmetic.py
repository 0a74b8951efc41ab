"""Arithmetic that gives the same bytes on other processors.

Libraries choose among their kernels by the processor, and the kernels round differently. Pinned arithmetic lets them use those for
AVX2, which nearly every x86-64 processor has. The variables are read when the libraries are loaded, so a build sets them for its
jobs. `docs/rebuilds.md` says which operations agree, and what was tried.
"""

import os

PINNED = {
    "PQM_ARITHMETIC": "pinned",
    "ATEN_CPU_CAPABILITY": "avx2",  # torch
    "MKL_CBWR": "AVX2,STRICT",  # torch's matrix products
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of numpy and scipy
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy
}


def pin() -> None:
    """Pin the arithmetic of the processes that this one starts."""
    os.environ.update(PINNED)


def pinned() -> bool:
    """Whether the arithmetic of this process is pinned."""
    return os.environ.get("PQM_ARITHMETIC") == "pinned"
