"""Which device and which number format are the fastest here that are still right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
DType = Literal["auto", "float32", "bfloat16", "float16"]
_AMPERE = (8, 0)  # the first compute capability that multiplies bfloat16


def pick_device(wanted: str) -> torch.device:
    """The device named (``cuda:1`` also), or for ``auto`` the first of CUDA, MPS and CPU.

    Raises `ConfigurationError` where this machine or this torch has no such device.
    """
    torch = require("torch", "torch")
    has = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(kind for kind, there in has.items() if there))
    kind, _, number = wanted.partition(":")
    if kind not in has or (number and not number.isdecimal()):
        raise ConfigurationError("device", f"{wanted!r} is none of auto, cpu, cuda, cuda:0, mps")
    if not has[kind] or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        raise ConfigurationError(
            "device", f"this torch finds no {wanted!r} here; use 'auto' or 'cpu'"
        )
    return torch.device(wanted)


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The format named, or for ``auto`` bfloat16 where the hardware multiplies it by itself.

    That is AMX or AVX512-BF16 on a CPU, Ampere and later on CUDA. Older CUDA cards get float16,
    all else float32.
    """
    library = require("torch", "torch")
    if wanted != "auto":
        if wanted not in ("float32", "bfloat16", "float16"):
            raise ConfigurationError(
                "dtype", f"{wanted!r} is none of auto, float32, bfloat16, float16"
            )
        return cast("torch.dtype", getattr(library, wanted))
    if device.type == "cuda":
        modern = library.cuda.get_device_capability(device) >= _AMPERE
        return library.bfloat16 if modern else library.float16
    if device.type == "cpu" and _multiplies_bfloat16():
        return library.bfloat16
    return library.float32


def _multiplies_bfloat16() -> bool:
    can = require("torch.cpu", "torch").get_capabilities()
    return bool(can.get("amx_bf16") or can.get("avx512_bf16") or can.get("sve_bf16"))


def multiplies_tiles(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether products in this format are of tiles of 16 rows: AMX, of bfloat16."""
    library = require("torch.cpu", "torch")
    amx = device.type == "cpu" and library.get_capabilities().get("amx_bf16", False)
    return bool(amx) and dtype == require("torch", "torch").bfloat16


def physical_cores() -> int:
    """Physical cores that this process may use; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = set(affinity(0)) if affinity else set(range(os.cpu_count() or 1))
    siblings = {_siblings(cpu) for cpu in allowed}
    return max(1, len(siblings))


def _siblings(cpu: int) -> str:
    """The hardware threads that share a core with this one, as Linux writes them."""
    try:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        return topology.read_text().strip()
    except OSError:
        return str(cpu)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on the device; None where nobody says."""
    torch = require("torch", "torch")
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return _available() if device.type == "cpu" else None


def _available() -> int | None:
    """What Linux could give, its caches included; elsewhere what is unused."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(n.split()[1]) for n in lines if n.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
