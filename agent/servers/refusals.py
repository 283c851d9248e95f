"""What a server's refusal of a load says. PURE."""

from __future__ import annotations

import re

_OUT_OF_MEMORY = re.compile(
    r"""
      out\ of\ memory                          # CUDA's own words, which ONNX Runtime and libtorch pass on
    | OUT_OF_MEMORY | OutOfMemory              # its driver's code; TensorRT's and PyTorch's kind of error
    | ALLOC_FAILED                             # cuBLAS and cuDNN
    | [Ff]ailed\ to\ allocate\ memory          # ONNX Runtime's arena
    | OOM\ when\ allocating                    # TensorFlow
    | std::bad_alloc | MemoryError             # host memory: C++, Python
    | Cannot\ allocate\ memory                 # ENOMEM
    | Unable\ to\ allocate\ [\d.]+\ [KMGTP]?i?B  # NumPy
    """,
    re.VERBOSE,
)
"""Triton, MLServer and KServe's servers pass on what the backend or the framework has said."""


def is_out_of_memory(text: str) -> bool:
    """Return whether a refusal says that there was too little memory; many backends do not say why."""
    return _OUT_OF_MEMORY.search(text) is not None
