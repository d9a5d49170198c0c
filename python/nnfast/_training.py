"""A network in training: epochs of steps in the engine, or its loss as a function of its parameters.

It knows the network as a type only: `nnfast._network` imports this file.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnfast import _core
from nnfast._outputs import Plan
from nnfast._own_loss import OwnLoss
from nnfast._rows import Array, Rows, SparseRows, as_row_weights
from nnfast._steps import KnownRates, StepRates

if TYPE_CHECKING:
    from nnfast._network import MLP


class Progress(NamedTuple):
    """How far an epoch has come: see nnf_progress in csrc/nnfast.h."""

    data: float = 0.0  # } sums over the rows of their losses
    penalty: float = 0.0  # } and of the penalties
    norms: float = 0.0  # sum over the steps of the norm of the gradient
    rows: int = 0
    steps: int = 0


# What an engine was made with, and for which instruction set.
Kind: TypeAlias = tuple[dict[str, Any], str]


class Idle:
    """The engine of a network between two visits of training, for the next to go on with.

    It saves time only: what the network is stands in its arrays. A copy, also a pickled one, is empty. Shallow copies
    of a network share it, and threads may: taking is one step.
    """

    # An engine whose batch takes more bytes of activations and deltas is not kept.
    MOST = 1 << 25

    def __init__(self) -> None:
        # None or one: the engine, its rates, its kind, and whose optimizer state it holds.
        self._engines: list[tuple[_core.Network, KnownRates, Kind, object]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Idle, ()

    def take(self, kind: Kind, max_batch: int, state: object) -> tuple[_core.Network, KnownRates] | None:
        """The engine and its rates, if they are of this kind and state, and have room for so many rows."""
        try:
            engine, rates, its_kind, held = self._engines.pop()
        except IndexError:
            return None
        fits = held is state and engine.max_batch >= max_batch and its_kind == kind
        return (engine, rates) if fits else None

    def give(self, engine: _core.Network, rates: KnownRates, kind: Kind, state: object) -> None:
        """Keep them: the engine holds this optimizer state, which nobody changes from now on."""
        self._engines[:] = [(engine, rates, kind, state)]


class Training:
    """A network while it is trained: its weights are packed in the engine from ``__enter__`` to ``__exit__``.

    Parameters
    ----------
    network : MLP
        Its weights, optimizer state and step count are read on entry and replaced on exit.
    max_batch : int
        Most rows of one step.
    sparse : bool, default=False
        Whether X may be sparse.
    again : bool, default=False
        Whether there may be another visit soon, which then need not make an engine of its own.
    """

    def __init__(self, network: MLP, max_batch: int, sparse: bool = False, again: bool = False) -> None:
        self.network = network
        self.max_batch = max_batch
        self.sparse = sparse
        self.again = again and 2 * max_batch * sum(network.layer_sizes) * network.dtype.itemsize <= Idle.MOST
        self._settled = False

    def __enter__(self) -> Self:
        network = self.network
        network._plan = Plan()  # which would hold on to the old weights
        settings = network._engine_settings(self.sparse)
        self._kind = settings, _core.active_isa()
        known = network._idle.take(self._kind, self.max_batch, network._state)
        if known is None:
            engine = _core.Network(**settings, max_batch=self.max_batch)
            known = engine, KnownRates()
            for part, state in zip((_core.STATE_1, _core.STATE_2), network._state, strict=False):
                engine.load(part, *state)
        self._engine, self._rates = known
        network._load(self._engine)
        self._begin = network.n_steps_ - self._engine.steps
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        network, engine = self.network, self._engine
        network.n_steps_ = self._begin + engine.steps
        again = self.again and kind is None
        if not again:
            engine.close()  # its workspace would stand beside the copies
        if not self._settled:
            self.settle()
        network._state = [self.snapshot(part) for part in (_core.STATE_1, _core.STATE_2)[: network._n_states()]]
        if again:
            network._idle.give(engine, self._rates, self._kind, network._state)

    def settle(self, weights: tuple[list[Array], list[Array]] | None = None) -> None:
        """Give the network the (coefs, intercepts) that it leaves with: these, or those of now.

        At the end of the visit it is done of itself; before, to let go of the old ones.
        """
        self.network.coefs_, self.network.intercepts_ = self.snapshot() if weights is None else weights
        self._settled = True

    @property
    def progress(self) -> Progress:
        """How far the epoch has come, also when it was interrupted.

        It and the number of steps are the engine's, which changes them together with the weights.
        """
        return Progress(*self._engine.progress)

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._engine.progress = progress

    def epoch(
        self,
        X: Rows,
        Y: Array,
        batch_size: int,
        order: NDArray[np.int64] | None = None,
        weights: NDArray[np.float64] | None = None,
        begun: Progress | None = None,
    ) -> tuple[float, float, float]:
        """One pass in mini-batches.

        Parameters
        ----------
        X : array (n_rows, n_in) or SparseRows
            Of the network's dtype, as `as_rows` gives it.
        Y : array (n_rows, n_out)
            Targets, likewise.
        batch_size : int
            Rows a step, at most ``max_batch``; the last step takes what is left.
        order : array (n,) of int64, optional
            The rows to visit, in this order; all of them as they come when None.
        weights : array (n_rows,) of float64, optional
            How much each row counts. A batch divides by the sum of its weights in place of its number of rows; one
            whose sum is 0 is skipped.
        begun : Progress, optional
            Of an epoch that was interrupted: with the same arguments it goes on as if nothing had been.

        Returns
        -------
        (data, penalty, norm) : floats
            Means over the batches, by their number of rows, of the loss, summed over outputs, and of the penalties,
            each with the parameters before the step of the batch; and the mean over the steps of the norm of the
            gradient, NaN without `clip_norm`.
        """
        network = self.network
        n = X.shape[0] if order is None else order.shape[0]
        if network.solver == "rprop" and batch_size < n:
            raise ValueError(f"rprop compares the signs of gradients: it needs all {n} rows in a batch")
        begun = Progress() if begun is None else begun
        engine = self._engine
        first = self._begin + engine.steps - begun.steps  # the epoch began with this step
        rates = self._rates.of(network, first, -(-n // batch_size))
        noise = network._noise(first)
        if network.own_loss is None:
            each, of_gradient, reaches, decays = rates
            engine.train_epoch(X, Y, order, batch_size, each, weights, noise, decays, of_gradient, reaches, begun)
        else:
            self.progress = begun
            self._epoch_of_own_loss(network.own_loss, X, Y, batch_size, order, weights, rates, noise)
        network.n_steps_ = self._begin + engine.steps
        data, penalty, norms, _, steps = engine.progress
        return data / n, penalty / n, norms / steps if network.clip_norm is not None and steps else np.nan

    def _epoch_of_own_loss(
        self,
        loss: OwnLoss,
        X: Rows,
        Y: Array,
        batch_size: int,
        order: NDArray[np.int64] | None,
        weights: NDArray[np.float64] | None,
        rates: StepRates,
        noise: int,
    ) -> None:
        """The epoch, step by step, on from `progress`."""
        if order is None:
            order = np.arange(X.shape[0], dtype=np.int64)
        engine, size = self._engine, Y.shape[1]
        while (progress := self.progress).rows < len(order):
            rows = order[progress.rows : progress.rows + batch_size]
            row_weights = None if weights is None else weights[rows]
            total = len(rows) if row_weights is None else row_weights.sum()
            raw = np.zeros((len(rows), size), self.network.dtype)
            if total != 0:
                penalty = engine.step_forward(X, rows, raw, noise=noise) / total
                mean, gradient = loss(Y[rows], raw, row_weights)
            else:  # no step, and so no loss
                penalty, mean, gradient = 0.0, 0.0, raw
            rate, of_gradient, reach, decay = rates.of_step(progress.steps)
            engine.step_backward(
                X, rows, gradient, mean, penalty, rate, weights, True, noise, decay, of_gradient, reach
            )

    def forward(self, X: Rows) -> Array:
        """Outputs (n, n_out) with the weights as they are now, for rows X as in `epoch`."""
        out = np.empty((X.shape[0], self.network.layer_sizes[-1]), self.network.dtype)
        self._engine.forward(X, out)
        return out

    def snapshot(self, part: int = _core.PARAMETERS) -> tuple[list[Array], list[Array]]:
        """Copies of the weight matrices and intercepts as they are now (or of another part of the same shapes)."""
        coefs, intercepts = self.network._empty_parameters()
        self._engine.store(part, coefs, intercepts)
        return coefs, intercepts


class Objective:
    """Loss and gradient of a network over all rows as a function of its parameters: what L-BFGS and its kin minimise.

    The parameters stand in one float64 vector, first all weight matrices, then all intercepts. Computed in the
    network's dtype.

    Parameters
    ----------
    network : MLP
        Its parameters are the start; they are not changed.
    X : array (n, n_in) or SparseRows
    Y : array (n, n_out)
    weights : array-like (n,), optional
        How much each row counts; they must not sum to 0.
    """

    def __init__(self, network: MLP, X: Rows, Y: Array, weights: ArrayLike | None = None) -> None:
        self.network = network
        self.start = np.concatenate([p.ravel() for p in network.coefs_ + network.intercepts_]).astype(np.float64)
        self._n_rows = X.shape[0]
        self._engine = network._engine(self._n_rows, sparse=isinstance(X, SparseRows))
        self._data = X, Y, as_row_weights(weights)
        if network.own_loss is None:
            self._engine.hold(*self._data)

    def __call__(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The mean loss, summed over outputs, with the penalty; and its gradient, shaped like theta."""
        network = self.network
        if network.own_loss is None:
            gradient = np.empty(theta.size, network.dtype)
            data, penalty = self._engine.value(theta.astype(network.dtype, copy=False), gradient)
        else:
            self._engine.load(_core.PARAMETERS, *self.unpack(theta))
            data, penalty = network._gradients(self._engine, *self._data)
            parts = network._empty_parameters()
            self._engine.store(_core.GRADIENTS, *parts)
            gradient = np.concatenate([part.ravel() for part in (*parts[0], *parts[1])])
        return (data + penalty) / self._n_rows, gradient.astype(np.float64, copy=False)

    def unpack(self, theta: NDArray[np.float64]) -> tuple[list[Array], list[Array]]:
        """The (coefs, intercepts) that theta stands for, in the network's dtype; copies."""
        flat, parts, begin = theta.astype(self.network.dtype), self.network._empty_parameters(), 0
        for part in (*parts[0], *parts[1]):
            part.reshape(-1)[:] = flat[begin : begin + part.size]
            begin += part.size
        return parts
