"""Weights in half precision: rounded in the network first, so that torch computes with the very values that are stored."""

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
"""Values of a tensor from which on half the size is worth it."""


@torch.no_grad()
def rounded(model: KeypointModel) -> KeypointModel:
    """A copy for prediction whose large weights are rounded to float16, batch norms folded into convolutions before.

    Raises ConfigError, with the tensor's name, where one holds values that float16 does not have.
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
            raise ConfigError(f"{name} holds weights beyond 65504, the largest of float16; export without --half")
    return copied


def _fold(layers: nn.Sequential) -> None:
    """Make convolutions that batch norms follow do their work, as the exporter does."""
    for (name, layer), (after, norm) in pairwise(list(layers.named_children())):
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers.register_module(name, fuse_conv_bn_eval(layer, norm))
            layers.register_module(after, nn.Identity())


def store(proto: Any) -> None:
    """Store a graph's large tensors as float16, made float32 again when it is loaded: those that lose nothing by it."""
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
