"""Which device to compute on, and whether bfloat16 pays there."""

from __future__ import annotations

import torch

from kptool.errors import ConfigError


def pick(name: str) -> torch.device:
    """The device called `name`; "auto" is the GPU where there is one. Raises ConfigError where there is no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try auto or cpu"
        ) from error
    return device


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic in hardware, so that mixed precision is faster and not just smaller."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # private, so absent is a no
    return device.type == "cpu" and probe is not None and bool(probe())


def use_amp(setting: str, device: torch.device) -> bool:
    """Resolve "auto", "on" or "off" for a device."""
    return setting == "on" or (setting == "auto" and fast_bfloat16(device))
