"""What a server's refusal of a load says. PURE."""

from __future__ import annotations

import re

_OUT_OF_MEMORY = re.compile(
    r"""
      \bout\ of\ memory\b                      # CUDA's own words, which ONNX Runtime and libtorch pass on
    | _OUT_OF_MEMORY\b                         # its driver's code
    | \bOutOfMemory(?:Error)?\b               # TensorRT's and PyTorch's kind of error
    | _ALLOC_FAILED\b                          # cuBLAS and cuDNN
    | \b[Ff]ailed\ to\ allocate\ memory\b      # ONNX Runtime's arena
    | \bOOM\ when\ allocating\b                # TensorFlow
    | \bstd::bad_alloc\b | \bMemoryError\b     # host memory: C++, Python
    | \bCannot\ allocate\ memory\b             # ENOMEM
    | \b(?:can't\ allocate|not\ enough)\ memory:\ you\ tried\ to\ allocate\b  # libtorch's, for the CPU
    | \bUnable\ to\ allocate\ [\d.]+\ [KMGTP]?i?B\b  # NumPy
    """,
    re.VERBOSE,
)
"""Triton, MLServer and KServe's servers pass on what the backend or the framework has said.

Of an engine or an execution context without room TensorRT says ``Error Code 2: OutOfMemory (...)``, which
Triton adds to its own ``unable to create TensorRT context: `` since
https://github.com/triton-inference-server/tensorrt_backend/pull/67 (April 2023). Before, those words of its
own were all that it said, whatever the cause: they are not taken for a want of memory.
libtorch's: https://github.com/pytorch/pytorch/pull/20618.
"""


def is_out_of_memory(text: str) -> bool:
    """Return whether a refusal says that there was too little memory; many backends do not say why."""
    return _OUT_OF_MEMORY.search(text) is not None
