"""Work for several threads, in a module that a spawned process can import without pytest and scikit-learn."""

import hashlib

import numpy as np

from nnfast import MLP, _core

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((600, 100)), RNG.standard_normal((600, 3))


def digest(*arrays):
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def trained():
    """A step of its training has 38 MFLOP, enough for 20 threads."""
    network = MLP((100, 200, 150, 3), activation="tanh", dtype="float64", random_state=0)
    network.train_epoch(X, Y, 300)
    return network


def work():
    """Bits of a fit and of a prediction."""
    network = trained()
    return digest(network.forward(X), *network.coefs_, *network.intercepts_)


def job(network):
    """What a process of a pool does: predicts with a network that it was given, and trains one of its own."""
    return digest(network.forward(X)), work(), _core.max_threads()
