"""Weights in half precision: rounded in the torch model first, so that torch computes with exactly the stored values."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kptool.base.errors import ConfigError
from kptool.network.keypoint_model import KeypointModel

LEAST = 256
"""Tensors with fewer values than this stay in float32: they are too small to matter."""


@torch.no_grad()
def rounded(model: KeypointModel) -> KeypointModel:
    """A copy in eval mode whose large weights are rounded to float16, after folding batch norms into convolutions.

    Raises ConfigError, naming the tensor, if a weight is out of float16's range.
    """
    copied = copy.deepcopy(model).eval()
    for module in list(copied.modules()):
        if isinstance(module, nn.Sequential):
            _fold(module)
    for name, parameter in copied.named_parameters():
        if parameter.numel() < LEAST:
            continue
        parameter.copy_(parameter.half().float())
        if not bool(torch.isfinite(parameter).all()):
            raise ConfigError(f"{name} holds weights above 65504, the largest float16 value; export without --half")
    return copied


def _fold(layers: nn.Sequential) -> None:
    """Fold each batch norm into the convolution before it, as the exporter does."""
    for (name, layer), (after, norm) in pairwise(list(layers.named_children())):
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers.register_module(name, fuse_conv_bn_eval(layer, norm))
            layers.register_module(after, nn.Identity())


def store(proto: Any) -> None:
    """Store a graph's large tensors as float16 with a cast to float32, if float16 represents their values exactly."""
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = proto.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
