"""ONNX Runtime sessions, the same way for every model."""

import ctypes
import sys
from pathlib import Path

import onnxruntime as ort

from lamina.core.errors import UnavailableError


def open_session(model: Path | bytes, threads: int, *, name: str) -> ort.InferenceSession:
    """A session of a file or of its bytes, on the GPU where there is one that can be used.

    Raises `UnavailableError`, naming the model, when it cannot be loaded.
    """
    try:
        session = ort.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            session_options(threads),
            providers=providers(),
        )
    except Exception as error:  # the library has no common error of its own
        raise UnavailableError(f"Model '{name}' cannot be loaded: {error}") from error
    release_free_memory()
    return session


def providers() -> list[str]:
    """What runs models here, the first that can: CUDA where `onnxruntime-gpu` is installed, else the CPU."""
    there = ort.get_available_providers()
    return [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in there]


def session_options(threads: int) -> ort.SessionOptions:
    """One call at a time uses up to `threads`; memory is given back between calls."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # the arena keeps the largest batch's memory for good; without it speed is the same within noise
    options.enable_cpu_mem_arena = False
    # threads that spin between calls would eat the cores that the other processes work on
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def release_free_memory() -> None:
    """Give memory that loading left behind back to the system: 65 MB of 215 after MiniLM."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
