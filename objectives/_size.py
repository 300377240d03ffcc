"""What can be counted in a PyTorch model without running it for real."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from moo.evaluation import Estimate

__all__ = ["count_macs", "count_parameters"]


def count_parameters(model: torch.nn.Module) -> Estimate:
    """Return the number of parameters; shared ones count once, buffers do not count."""
    return Estimate.exact(sum(parameter.numel() for parameter in model.parameters()))


def count_macs(model: torch.nn.Module, example: torch.Tensor) -> Estimate:
    """Return the multiply-accumulates for one row, the mean over `example`.

    They are counted by torch: matrix products, convolutions and attention; element-wise work does
    not count. Where nothing that counts was found, there is no value.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(example)
    flops = counter.get_total_flops()
    if flops == 0:
        return Estimate(None, reason="torch's counter knows none of the model's operators")
    return Estimate.exact(flops / 2 / len(example))
