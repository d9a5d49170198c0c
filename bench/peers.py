"""The packages that nnfast is compared with: which are here, and what training and prediction both need of them.

Peers are imported where they are used: what is missing is skipped, and a worker process loads no more than it needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

# Of every layer: (n_in, n_out) and (n_out,).
Weights = tuple[list[np.ndarray], list[np.ndarray]]


def importable(name: str, *modules: str) -> bool:
    """Whether a peer is here; names it when it is not."""
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        print(f"skipped: {name} ({error})")
        return False
    return True


def jax_importable() -> bool:
    """Whether JAX is here; sets it up for the process, before its first use."""
    if not importable("JAX", "jax"):
        return False
    import jax

    jax.config.update("jax_enable_x64", True)  # or float64 would become float32; float32 stays what it is
    # Each call is waited for, so that handing it to another thread only costs: of one row, 30 µs in place of 7.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return True


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """PyTorch with so many threads. Afterwards it has all again, and so has nnfast: in one process both may ask the
    same OpenMP library."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_layers(weights: Weights, dtype: torch.dtype) -> list[torch.nn.Linear]:
    import torch

    layers = []
    for coef, intercept in zip(*weights, strict=True):
        layer = torch.nn.Linear(*coef.shape, dtype=dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(coef.T))
            layer.bias.copy_(torch.from_numpy(intercept))
        layers.append(layer)
    return layers


def torch_network(layers: list[torch.nn.Linear], *output: torch.nn.Module) -> torch.nn.Sequential:
    """The layers with ReLU between them, then what stands in `output`."""
    import torch

    return torch.nn.Sequential(*[part for layer in layers for part in (layer, torch.nn.ReLU())][:-1], *output)


def jax_forward(weights: Any, X: Any) -> Any:
    """The output layer before its activation, for jax.jit."""
    import jax.numpy as jnp

    coefs, intercepts = weights
    for coef, intercept in zip(coefs[:-1], intercepts[:-1], strict=True):
        X = jnp.maximum(X @ coef + intercept, 0)
    return X @ coefs[-1] + intercepts[-1]
