"""A network that learns its data by heart, and what helps: dropout, weight decay, a falling learning rate, averages.

    python examples/overfitting.py [--seeds N] [--random SHARE]

500 images of handwritten digits, of which every fifth label or so is wrong: a network with two layers of 128 units
learns the wrong ones too, and is sure of them. The table has the loss on these images and, against the true labels, the
loss and the accuracy on the 1,297 others: the mean over several draws of images, labels and weights, and for how many
draws the loss on the others is smaller than that of the network as it is.

With `--random 0` all labels are right, and there is little to mend: so much dropout then does harm.
"""

import argparse
import sys
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from nnfast import MLPClassifier

# Without early stopping: the question is what becomes of a fit that goes on.
PLAIN = {"max_iter": 40, "learning_rate_init": 0.01, "batch_size": 50, "alpha": 0.0, "n_iter_no_change": np.inf}
REMEDIES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "dropout": {"dropout": 0.5},
    "weight decay": {"solver": "adamw", "weight_decay": 1.0},
    "cosine": {"learning_rate": "cosine"},
    "averages": {"averaging": "swa"},
    "the first three": {"dropout": 0.5, "solver": "adamw", "weight_decay": 1.0, "learning_rate": "cosine"},
}
N_TRAINING = 500


def outcome(remedy: str, seed: int, share_random: float) -> tuple[float, float, float]:
    """The loss in training, and on the other images the loss and the accuracy."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    rng = np.random.RandomState(seed)
    rows, others = np.split(rng.permutation(len(y)), [N_TRAINING])
    labels = np.where(rng.uniform(size=N_TRAINING) < share_random, rng.randint(10, size=N_TRAINING), y[rows])
    model = MLPClassifier((128, 128), random_state=seed, **PLAIN | REMEDIES[remedy])
    model.fit(X[rows], labels, X_val=X[others], y_val=y[others])
    return model.loss_, model.validation_loss_curve_[-1], model.score(X[others], y[others])


def outcomes(n_seeds: int, share_random: float = 0.2) -> dict[str, np.ndarray]:
    """For each remedy an array (n_seeds, 3)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # all 40 epochs are meant
        return {
            remedy: np.array([outcome(remedy, seed, share_random) for seed in range(n_seeds)]) for remedy in REMEDIES
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="draws of everything (default: %(default)s)")
    parser.add_argument("--random", type=float, default=0.2, help="share of random labels (default: %(default)s)")
    options = parser.parse_args()
    found = outcomes(options.seeds, options.random)
    print(f"{'':17}{'training loss':>15}{'validation loss':>21}{'accuracy':>12}{'smaller loss':>15}")
    plain = found["as it is"]
    for remedy, values in found.items():
        training, loss, accuracy = values.mean(axis=0)
        better = "" if remedy == "as it is" else f"{(values[:, 1] < plain[:, 1]).sum()} of {len(plain)}"
        print(f"{remedy:17}{training:>15.2f}{loss:>13.2f} ± {values[:, 1].std():.2f}{accuracy:>14.1%}{better:>15}")
    if options.random > 0:
        print("\nThe network as it is has the smallest loss in training: it has learned the wrong labels by heart.")
        print("Together the remedies make the most accurate network, less sure of its answers, as the labels are.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
