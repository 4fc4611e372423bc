"""Which device to compute on, and whether bfloat16 pays there."""

from __future__ import annotations

import os

import torch

from kptool.base.errors import ConfigError
from kptool.system.workers import world_size

_LONGEST = 160


def pick(name: str) -> torch.device:
    """The device called `name`; "auto" is the GPU where there is one. Raises ConfigError where there is no such device."""
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
        why = (str(error) or type(error).__name__).splitlines()[0][:_LONGEST]
        raise ConfigError(f"device {name!r} cannot be used here ({why}); try auto or cpu") from error
    return device


def of_rank(device: torch.device) -> torch.device:
    """The device of this process: of several, the GPU whose index is its rank on this machine."""
    if device.type == "cuda" and world_size() > 1:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


def available() -> dict[str, int]:
    """The kinds of devices that there are here, and how many of each."""
    found = {"cpu": 1, "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    found["mps"] = int(torch.backends.mps.is_available())
    xpu = getattr(torch, "xpu", None)
    found["xpu"] = xpu.device_count() if xpu is not None and xpu.is_available() else 0
    return {kind: count for kind, count in found.items() if count}


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic in hardware, so that mixed precision is faster and not just smaller."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # private, so absent is a no
    return device.type == "cpu" and probe is not None and bool(probe())


def use_amp(setting: str, device: torch.device) -> bool:
    """Resolve "auto", "on" or "off" for a device."""
    return setting == "on" or (setting == "auto" and fast_bfloat16(device))
