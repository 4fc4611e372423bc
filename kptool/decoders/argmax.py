"""The position of the largest pixel, exact to half a pixel at best."""

from torch import Tensor

from kptool.network.peaks import Peaks, decode_with
from kptool.plugins import Decoder


def locate(peaks: Peaks) -> tuple[Tensor, Tensor]:
    """x and y (M,) of the largest pixels."""
    return peaks.x, peaks.y


DECODER = Decoder(decode_with(locate, "argmax"), "the largest pixel")
