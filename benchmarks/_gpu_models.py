"""Models for the GPU benchmark, as the torch profiler takes them: functions that return a module and inputs.

Weights and inputs are normal: a GPU's clock, and with it its speed, depends on the numbers it multiplies.
"""

from __future__ import annotations

import torch

N_SMALL = 200  # operators
N_LAYERS = 12


class Small(torch.nn.Module):
    """Many operators that take a GPU next to nothing each, and the host some microseconds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add one again and again."""
        for _ in range(N_SMALL):
            x = x + 1
        return x


class Product(torch.nn.Module):
    """Rows times a square matrix."""

    def __init__(self, width: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(width, width, generator=generator) / width**0.5
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return x @ self.weight


def launches() -> tuple[torch.nn.Module, tuple[torch.Tensor]]:
    """Bound by the host, which puts work in the queue."""
    return Small(), (torch.zeros(2, 64),)


def product() -> tuple[torch.nn.Module, tuple[torch.Tensor]]:
    """Bound by what the GPU computes."""
    return Product(4096), (torch.zeros(2, 4096),)


def large_product() -> tuple[torch.nn.Module, tuple[torch.Tensor]]:
    """With 8192 rows 2 x 8192^3 operations."""
    return Product(8192), (torch.zeros(2, 8192),)


def convolutions() -> tuple[torch.nn.Module, tuple[torch.Tensor]]:
    """Some convolutions, between the two."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(4)]
    return torch.nn.Sequential(*layers), (torch.zeros(2, 64, 56, 56),)


def small_network() -> tuple[torch.nn.Module, tuple[torch.Tensor]]:
    """A network whose rows are few and whose layers are small, as a service of single requests has."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for _ in range(N_LAYERS):
        layers += [torch.nn.Linear(256, 256), torch.nn.LayerNorm(256), torch.nn.GELU()]
    return torch.nn.Sequential(*layers), (torch.zeros(2, 256),)
