"""Choose the device and the number format that compute fastest here without losing accuracy."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from vecdb_rerank._checks import one_of
from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("vecdb_rerank")

DType = Literal["auto", "float32", "bfloat16", "float16"]
RerankerDType = Literal["auto", "float32", "bfloat16", "float16", "int8"]
_DTYPES = get_args(RerankerDType)
# The fastest format on a CPU that has an instruction, as PyTorch names it
# (torch.cpu.get_capabilities); the first row counts. Measured in docs/performance.md. Processors
# with AVX512-FP16 have AMX; where a virtual machine hides it, bfloat16 takes twice as long as
# float32. int8 is never chosen unasked: its cost in quality depends on the model.
_FASTEST = (
    ("amx_bf16", "bfloat16"),
    ("avx512_fp16", "float32"),
    ("avx512_bf16", "bfloat16"),
    ("sve_bf16", "bfloat16"),
)
_FLOAT16 = ("amx_fp16", "avx512_fp16")
_AMPERE = (8, 0)  # the first CUDA compute capability with bfloat16 products


def pick_device(name: str) -> torch.device:
    """Return the device ``name`` (such as ``cuda:1``), or for ``auto`` the first of CUDA, MPS, CPU.

    Raises `ConfigurationError` if this machine or this torch has no such device.
    """
    torch = require("torch", "torch")
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, found in available.items() if found))
    kind, _, number = name.partition(":")
    if kind not in available or (number and not number.isdecimal()):
        raise ConfigurationError(
            "device", f"must be one of: auto, cpu, cuda, cuda:0, mps; got {name!r}"
        )
    if not available[kind] or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        raise ConfigurationError("device", f"torch finds no device {name!r}; use 'auto' or 'cpu'")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the format ``name``, or for ``auto`` the fastest one here.

    That is bfloat16 on CPUs with AMX, AVX512-BF16 or SVE-BF16 and on CUDA from Ampere on, float16
    on older CUDA devices, and float32 on all others, also where a virtual machine hides AMX.
    Raises `ConfigurationError` for int8 on a GPU.
    """
    library = require("torch", "torch")
    if name != "auto":
        one_of("dtype", name, _DTYPES)
        if name == "int8" and device.type != "cpu":
            raise ConfigurationError(
                "dtype", f"int8 needs a CPU, and the device is {device}; use 'auto'"
            )
        return cast("torch.dtype", getattr(library, name))
    if device.type == "cuda":
        modern = library.cuda.get_device_capability(device) >= _AMPERE
        return library.bfloat16 if modern else library.float16
    fastest = _fastest() if device.type == "cpu" else "float32"
    return cast("torch.dtype", getattr(library, fastest))


def warn_if_emulated(dtype: torch.dtype, device: torch.device) -> None:
    """Log a warning if this CPU multiplies half precision ``dtype`` slower than float32."""
    name = str(dtype).removeprefix("torch.")
    fast = {
        "bfloat16": _fastest() == "bfloat16",
        "float16": any(map(_instructions().get, _FLOAT16)),
    }
    if device.type == "cpu" and not fast.get(name, True):
        log.warning(
            "this CPU has no fast instructions for %s: it takes up to several times as long as "
            "float32; set dtype to 'auto'",
            name,
        )


def _fastest() -> str:
    """Return the fastest floating-point format on this CPU."""
    found = _instructions()
    return next((dtype for name, dtype in _FASTEST if found.get(name)), "float32")


def _instructions() -> Mapping[str, object]:
    """Return which instructions this CPU has."""
    found: Mapping[str, object] = require("torch.cpu", "torch").get_capabilities()
    return found


def uses_amx(device: torch.device, dtype: torch.dtype) -> bool:
    """Check whether products in this format use AMX, which multiplies tiles of 16 rows."""
    amx = device.type == "cpu" and _instructions().get("amx_bf16", False)
    return bool(amx) and dtype == require("torch", "torch").bfloat16


def physical_cores() -> int:
    """Return the number of physical cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
    else:
        allowed = set(range(os.cpu_count() or 1))
    return max(1, len({_siblings(cpu) for cpu in allowed}))


def _siblings(cpu: int) -> str:
    """Return the hardware threads that share a core with ``cpu``, as Linux lists them."""
    try:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        return topology.read_text().strip()
    except OSError:
        return str(cpu)


def free_memory(device: torch.device) -> int | None:
    """Return the number of free bytes on the device, or None if that is unknown."""
    torch = require("torch", "torch")
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return _free_ram() if device.type == "cpu" else None


def _free_ram() -> int | None:
    """Return what Linux could free, caches included; elsewhere the unused memory."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(n.split()[1]) for n in lines if n.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
