"""The mean position weighted by value, in a window about the largest pixel: robust, slightly biased."""

from kptool.peaks import centroid, decode_with
from kptool.plugins import Decoder

DECODER = Decoder(decode_with(centroid), "weighted average in a window about the peak")
