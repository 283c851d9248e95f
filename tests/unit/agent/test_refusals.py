"""Which refusals say that there was too little memory."""

from __future__ import annotations

import pytest

from agent.servers.refusals import is_out_of_memory

TRITON = "load failed for model 'm': version 1 is at UNAVAILABLE state: "


@pytest.mark.parametrize(
    "text",
    [
        f"{TRITON}Internal: onnx runtime error 1: CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc(",
        f"{TRITON}Internal: BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of",
        f"{TRITON}Internal: onnx runtime error 1: CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        f"{TRITON}Internal: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity)",
        f"{TRITON}Internal: torch.OutOfMemoryError: CUDA out of memory.",
        f"{TRITON}Internal: OOM when allocating tensor with shape[4096,4096]",
        f"{TRITON}Internal: Error Code 2: OutOfMemory (Requested size was 16777216 bytes.)",
        f"{TRITON}Internal: unable to create TensorRT context: Error Code 2: OutOfMemory (no further inform",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4860032 bytes. Error code 12",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 280166432 bytes.",
        "CUDA_ERROR_OUT_OF_MEMORY",
        f"{TRITON}Internal: CUDA error 2 (out of memory): 1048576 bytes for an instance on GPU 0;",
        "Unable to allocate 1.86 GiB for an array with shape (500, 500000) and data type float64",
        "std::bad_alloc",
        "builtins.MemoryError",
        "[Errno 12] Cannot allocate memory",
    ],
)
def test_those_that_do(text: str) -> None:
    assert is_out_of_memory(text)


@pytest.mark.parametrize(
    "text",
    [
        f"{TRITON}Internal: unable to create TensorRT context",
        f"{TRITON}Invalid argument: unable to load shared library: libmemory.so",
        "failed to load 'out-of-memory-detector', failed to poll from model repository",
        "failed to load 'OutOfMemoryDetector', failed to poll from model repository",
        "NotInMemoryError: no such table",
        "OUT_OF_MEMORY_detector not found",
        "Model m not found",
        "",
    ],
)
def test_those_that_do_not(text: str) -> None:
    assert not is_out_of_memory(text)
