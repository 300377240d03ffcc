"""What can be counted in a PyTorch model without running it for real."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from moo.evaluation import Estimate

__all__ = ["count_macs", "count_parameters"]


def count_parameters(model: torch.nn.Module) -> Estimate:
    """Return the number of parameters; shared ones count once, buffers do not count."""
    return Estimate.exact(sum(parameter.numel() for parameter in model.parameters()))


def count_macs(model: torch.nn.Module, example: torch.Tensor) -> Estimate:
    """Return the multiply-accumulates for one row, the mean over `example`.

    They are counted by torch: matrix products, convolutions and attention; element-wise work does
    not count. Recurrent and attention layers are run step by step for it, because torch's counter
    does not see inside their fused kernels. Where one is fused all the same, or nothing that counts
    was found, there is no value.
    """
    with torch.no_grad(), _unfused(), _OperatorNames() as seen, FlopCounterMode(display=False) as counter:
        model(example)
    fused = sorted(name for name in seen.names if any(word in name for word in _FUSED))
    if fused:
        return Estimate(None, reason=f"torch's counter does not see inside {', '.join(fused)}")
    flops = counter.get_total_flops()
    if flops == 0:
        return Estimate(None, reason="torch's counter knows none of the model's operators")
    return Estimate.exact(flops / 2 / len(example))


_FUSED = ("rnn", "lstm", "gru", "transformer_encoder", "native_multi_head", "scaled_dot_product")


class _OperatorNames(TorchDispatchMode):
    """Notes the name of every operator that runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _unfused() -> Iterator[None]:
    """Have torch run recurrent and transformer layers operator by operator."""
    was_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # setting one flag warns of others that are passed through
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fused)
