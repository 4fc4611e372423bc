"""Choosing the device to compute on, and whether to use bfloat16 there."""

from __future__ import annotations

import os

import torch

from kptool.base.errors import ConfigError
from kptool.system.workers import world_size

_MAX_REASON = 160
"""Characters of torch's own error message that are quoted."""


def pick(name: str) -> torch.device:
    """The device called `name`; "auto" is the GPU if there is one, else the CPU. Raises ConfigError if it is unusable."""
    known = available()
    if name == "auto":
        return torch.device("cuda" if "cuda" in known else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"there is no kind of device {name!r}; give auto, {', '.join(known)}") from None
    if device.type not in known:
        raise ConfigError(f"this torch finds no device {name!r} here; give auto, {', '.join(known)}")
    if device.index is not None and device.index >= known[device.type]:
        last = known[device.type] - 1
        raise ConfigError(f"there is no device {name!r} here; the last of its kind is {device.type}:{last}")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:_MAX_REASON]
        raise ConfigError(f"device {name!r} cannot be used here ({reason}); try auto or cpu") from error
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # graphs and kernels are made on the current one
    return device


def of_rank(device: torch.device) -> torch.device:
    """The device of this process: `device`, or the GPU with the process's local rank if several processes share the work."""
    if device.type == "cuda" and world_size() > 1:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


def available() -> dict[str, int]:
    """The available types of device, and the number of each."""
    found = {"cpu": 1, "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    found["mps"] = int(torch.backends.mps.is_available())
    xpu = getattr(torch, "xpu", None)
    found["xpu"] = xpu.device_count() if xpu is not None and xpu.is_available() else 0
    return {kind: count for kind, count in found.items() if count}


def free_memory(device: torch.device) -> int | None:
    """Bytes that an accelerator has left; None for the CPU, and where torch does not tell."""
    if device.type not in ("cuda", "xpu"):
        return None
    tell = getattr(getattr(torch, device.type), "mem_get_info", None)
    return None if tell is None else int(tell(device)[0])


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic in hardware; elsewhere mixed precision saves memory but not time."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # private, so it may disappear
    return device.type == "cpu" and probe is not None and bool(probe())


def use_amp(setting: str, device: torch.device) -> bool:
    """Whether to use mixed precision: resolves the setting "auto", "on" or "off" for a device."""
    return setting == "on" or (setting == "auto" and fast_bfloat16(device))
