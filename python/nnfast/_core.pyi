from collections.abc import Sequence
from typing import Any, Final, Self, TypeAlias, final

from numpy.typing import NDArray

# Rows of inputs: a matrix, or the values, indices and indptr of a sparse one; more may follow these three.
_Inputs: TypeAlias = NDArray[Any] | tuple[Any, ...]
# An activation: its name, or (name, argument).
_Activation: TypeAlias = str | tuple[str, float]

ACTIVATIONS: Final[tuple[str, ...]]
ARGUMENTS: Final[dict[str, float]]
LOSSES: Final[tuple[str, ...]]
SOLVERS: Final[tuple[str, ...]]
N_STATES: Final[dict[str, int]]
PARAMETERS: Final[int]
STATE_1: Final[int]
STATE_2: Final[int]
GRADIENTS: Final[int]

def isas() -> dict[str, bool]: ...
def active_isa() -> str: ...
def select_isa(name: str) -> None: ...
def compiler() -> str: ...
def threads_backend() -> str: ...
def processors() -> int: ...
def max_threads() -> int: ...
def fail_allocation(countdown: int) -> None: ...
def matmul(A: Any, B: Any, out: Any, n_threads: int) -> bool: ...
def linear(X: Any, W: Any, b: Any, activation: _Activation, out: Any, n_threads: int) -> bool: ...
def activate(activation: _Activation, x: Any, out: Any) -> bool: ...
def activate_grad(activation: _Activation, x: Any, out: Any) -> bool: ...
def softmax(x: Any, out: Any) -> bool: ...
def forward(
    X: _Inputs,
    coefs: Sequence[NDArray[Any]],
    intercepts: Sequence[NDArray[Any]],
    activations: Sequence[_Activation],
    out: NDArray[Any],
    n_threads: int,
    groups: Sequence[int] = ...,
) -> None: ...
def shuffle(order: NDArray[Any], bit_generator: Any) -> None: ...
def all_finite(X: NDArray[Any]) -> bool: ...
def both_classes(out: NDArray[Any]) -> None: ...

# coefs, intercepts, hidden, output, groups
_Known = tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]], Any, Any, tuple[int, ...]]

@final
class Plan:
    def bind(self, activations: Sequence[_Activation], known: _Known) -> None: ...
    def forward(
        self, X: Any, out: Any, known: _Known, finite: bool = ..., both: bool = ..., n_threads: int = ...
    ) -> bool: ...

@final
class Network:
    def __new__(
        cls,
        format: str,
        sizes: Sequence[int],
        activations: Sequence[_Activation],
        loss: str,
        solver: str,
        *,
        alpha: float = ...,
        l1: float = ...,
        clip_value: float = ...,
        clip_norm: float = ...,
        momentum: float = ...,
        beta_1: float = ...,
        beta_2: float = ...,
        epsilon: float = ...,
        groups: Sequence[int] = ...,
        dropout: Sequence[float] = ...,
        max_batch: int = ...,
        sparse: bool = ...,
        keep_gradients: bool = ...,
        n_threads: int = ...,
        huber_delta: float = ...,
        tweedie_power: float = ...,
        focal_gamma: float = ...,
        levels: Sequence[float] = ...,
    ) -> Self: ...
    def load(self, part: int, coefs: Sequence[NDArray[Any]], intercepts: Sequence[NDArray[Any]]) -> None: ...
    def store(self, part: int, coefs: Sequence[NDArray[Any]], intercepts: Sequence[NDArray[Any]]) -> None: ...
    def close(self) -> None: ...
    def forward(self, X: _Inputs, out: NDArray[Any]) -> None: ...
    def train_epoch(
        self,
        X: _Inputs,
        Y: NDArray[Any],
        order: NDArray[Any] | None,
        batch_size: int,
        rates: NDArray[Any],
        weights: NDArray[Any] | None = ...,
        noise: int = ...,
        decays: NDArray[Any] | None = ...,
        gradient_rates: NDArray[Any] | None = ...,
        reaches: NDArray[Any] | None = ...,
        begun: Sequence[float] | None = ...,
    ) -> tuple[float, float, int]: ...
    @property
    def steps(self) -> int: ...
    @property
    def max_batch(self) -> int: ...
    @property
    def progress(self) -> tuple[float, float, float, int, int]: ...
    @progress.setter
    def progress(self, value: Sequence[float]) -> None: ...
    def step_forward(
        self, X: _Inputs, order: NDArray[Any] | None, raw: NDArray[Any], learning: bool = ..., noise: int = ...
    ) -> float: ...
    def step_backward(
        self,
        X: _Inputs,
        order: NDArray[Any] | None,
        gradient: NDArray[Any],
        loss: float,
        penalty: float,
        rate: float = ...,
        weights: NDArray[Any] | None = ...,
        learning: bool = ...,
        noise: int = ...,
        decay: float = ...,
        gradient_rate: float = ...,
        reach: float = ...,
    ) -> None: ...
    def gradients(self, X: _Inputs, Y: NDArray[Any], weights: NDArray[Any] | None = ...) -> tuple[float, float]: ...
    def hold(self, X: _Inputs, Y: NDArray[Any], weights: NDArray[Any] | None = ...) -> None: ...
    def value(self, theta: NDArray[Any], gradient: NDArray[Any]) -> tuple[float, float]: ...

@final
class Neuron:
    def __new__(
        cls,
        *,
        x: NDArray[Any],
        target: NDArray[Any],
        sample_weight: NDArray[Any],
        order: NDArray[Any],
        weights: NDArray[Any],
        activation: str,
        intercept: float = ...,
        indptr: NDArray[Any] | None = ...,
        indices: NDArray[Any] | None = ...,
        held_out: NDArray[Any] | None = ...,
        seed: int | None = ...,
        eta0: float = ...,
        intercept_rate: float = ...,
        weight_negative: float = ...,
        weight_positive: float = ...,
        penalty: str | None = ...,
        alpha: float = ...,
        l1_ratio: float = ...,
        l1_applied: NDArray[Any] | None = ...,
        track_loss: bool = ...,
        track_norms: bool = ...,
        square_norm: float = ...,
        l1_norm: float = ...,
        weight_sum: NDArray[Any] | None = ...,
        intercept_sum: float = ...,
        n_unaveraged: int = ...,
        n_averaged: int = ...,
    ) -> Self: ...
    def epoch(self) -> bool: ...
    def rescale(self) -> None: ...
    @property
    def intercept(self) -> float: ...
    @property
    def intercept_sum(self) -> float: ...
    @property
    def n_averaged(self) -> int: ...
    @property
    def scale(self) -> float: ...
    @property
    def square_norm(self) -> float: ...
    @property
    def loss_sum(self) -> float: ...
    @property
    def objective_sum(self) -> float: ...
