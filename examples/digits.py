"""The main job: recognise handwritten digits, with scikit-learn's MLPClassifier and with nnfast's.

    python examples/digits.py [--rounds N]

The same pipeline, the same seed, the same five folds: only the import of the classifier differs. The table shows how
well and how fast each one does; then the weights of both are compared. The exit status is 1 if they differ.
"""

import argparse
import sys
import time
from statistics import median

import numpy as np
import sklearn
import sklearn.neural_network
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import nnfast

CLASSIFIERS = {
    f"scikit-learn {sklearn.__version__}": sklearn.neural_network.MLPClassifier,
    f"nnfast {nnfast.__version__}": nnfast.MLPClassifier,
}
TOLERANCE = 1e-8  # of the largest weight of a layer: rounding errors stay far below it, any other error far above


def recogniser(classifier: type) -> Pipeline:
    return make_pipeline(StandardScaler(), classifier(hidden_layer_sizes=(100,), random_state=0))


def largest_difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> tuple[float, float]:
    """The largest difference between two lists of arrays, and the largest relative to its array's largest element."""
    absolute = [np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)]
    return max(absolute), max(d / np.abs(b).max() for d, b in zip(absolute, theirs, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="cross-validations of each (default: %(default)s)")
    rounds = parser.parse_args().rounds

    X, y = load_digits(return_X_y=True)
    print(f"{len(X)} images of handwritten digits, {X.shape[1]} pixels each")
    print("StandardScaler, then a network with 100 hidden units; 5-fold cross-validation\n")

    # Fit both once on all images: it warms up caches and libraries, and gives the weights to compare.
    networks = [recogniser(classifier).fit(X, y)[-1] for classifier in CLASSIFIERS.values()]

    # Then both in turn, so that a busy moment of the machine meets both.
    accuracy: dict[str, np.ndarray] = {}
    seconds: dict[str, list[float]] = {name: [] for name in CLASSIFIERS}
    for _ in range(rounds):
        for name, classifier in CLASSIFIERS.items():
            time.sleep(0.3)  # threads that spin while they wait for work must not slow the other one down
            result = cross_validate(recogniser(classifier), X, y, cv=5)
            accuracy[name] = result["test_score"]
            seconds[name].append(result["fit_time"].sum())

    reference = median(next(iter(seconds.values())))
    print(f"{'':22}{'accuracy':>18}{'time of 5 fits':>18}{'speed-up':>12}")
    for name, scores in accuracy.items():
        took = median(seconds[name])
        print(f"{name:22}{scores.mean():>10.2%} ± {scores.std():.2%}{took:>16.3f} s{reference / took:>11.1f}×")

    theirs, ours = networks
    absolute, relative = largest_difference(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_)
    print(f"\nFitted on all images for {theirs.n_iter_} and {ours.n_iter_} epochs, the two sets of weights differ by")
    print(f"at most {absolute:.1e}, which is {relative:.1e} of the largest weight of a layer.")
    if not relative <= TOLERANCE:
        print(f"That is more than rounding explains (limit {TOLERANCE:.0e}): they did not learn the same.")
        return 1
    print("Same seed, same network.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
