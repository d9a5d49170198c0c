"""From one neuron to a deep network, step by step. Every step runs, and an assertion checks what it says.

    python examples/from_neuron_to_network.py [FOLDER]

Step 2 draws the activation functions into FOLDER/activations.png (default: here) when matplotlib is installed.
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nnfast import MLP, ActivationDisplay, MLPClassifier, Perceptron, ops

# The four inputs of a logical function of two variables, one a row, and its value for each.
CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
AND = np.array([0, 0, 0, 1])
OR = np.array([0, 1, 1, 1])
XOR = np.array([0, 1, 1, 0])


def say(text: str) -> None:
    print(textwrap.fill(" ".join(text.split()), width=100))


# ---- 1. One neuron --------------------------------------------------------------------------------------------------


def a_neuron() -> None:
    say("""A neuron weighs its inputs, adds them up together with a constant of its own, the intercept, and fires when
        the sum is above zero. This one decides whether to take an umbrella: rain speaks for it, wind against it.""")
    rain_and_wind = CORNERS
    weights, intercept = np.array([2.0, -1.0]), -0.5

    weighted_sum = ops.matmul(rain_and_wind, weights) + intercept
    fires = ops.step(weighted_sum)

    print("\n  rain  wind   weighted sum   fires")
    for (rain, wind), z, output in zip(rain_and_wind, weighted_sum, fires, strict=True):
        answer = "yes" if output else "no"
        print(f"  {rain:4.0f}  {wind:4.0f}   2·{rain:.0f} - 1·{wind:.0f} - 0.5 = {z:4.1f}   {answer}")
    assert weighted_sum.tolist() == [-0.5, -1.5, 1.5, 0.5]
    assert fires.tolist() == [0, 0, 1, 1]


# ---- 2. Activation functions ----------------------------------------------------------------------------------------

ACTIVATIONS = {  # name: the function, its slope, its formula
    "step": (ops.step, ops.step_grad, "1 where z > 0, else 0"),
    "sigmoid": (ops.sigmoid, ops.sigmoid_grad, "1 / (1 + exp(-z))"),
    "tanh": (ops.tanh, ops.tanh_grad, "hyperbolic tangent of z"),
    "ReLU": (ops.relu, ops.relu_grad, "z where z > 0, else 0"),
    "leaky ReLU": (ops.leaky_relu, ops.leaky_relu_grad, "z where z > 0, else 0.01 z"),
}


def activation_functions(folder: Path) -> None:
    say("""What a neuron makes of its weighted sum z is called its activation function. The step says only yes or no.
        The others say how much, and they have a slope. The slope tells by how much the output changes when z changes a
        little, and with it in which direction to change the weights: that is how networks learn.""")
    z = np.array([-2.0, -1.0, -0.1, 0.1, 1.0, 2.0])
    print(f"\n  {'z':>16}" + "".join(f"{value:8.1f}" for value in z))
    for name, (function, slope, _) in ACTIVATIONS.items():
        print(f"  {name:>16}" + "".join(f"{value:8.3f}" for value in function(z)))
        print(f"  {'slope':>16}" + "".join(f"{value:8.3f}" for value in slope(z)))

        h = 1e-6  # the slope is the limit of this quotient
        assert np.allclose(slope(z), (function(z + h) - function(z - h)) / (2 * h), atol=1e-8)
    assert ops.sigmoid(0.0) == 0.5 and ops.tanh(0.0) == 0.0 and ops.leaky_relu(-2.0) == -0.02

    picture = draw_activations(folder)
    print(f"\nPicture: {picture}" if picture else "\nFor a picture of them: pip install matplotlib")


def draw_activations(folder: Path) -> Path | None:
    """Draw every activation function and its slope; the path of the picture, or None without matplotlib."""
    try:
        display = ActivationDisplay.from_names([function.__name__ for function, _, _ in ACTIVATIONS.values()])
    except ImportError:
        return None
    for panel, (name, (_, _, formula)) in zip(display.axes_, ACTIVATIONS.items(), strict=True):
        panel.set_title(f"{name}\n{formula}", fontsize="medium")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "activations.png"
    display.figure_.savefig(path, dpi=120)
    return path


# ---- 3. A perceptron learns -----------------------------------------------------------------------------------------


def rosenblatt(X: np.ndarray, target: np.ndarray, weights: np.ndarray, epochs: int) -> tuple[np.ndarray, float]:
    """Rosenblatt's learning rule (1958), all of it: after a mistake, move the weights towards what was asked for."""
    weights, intercept = weights.copy(), 0.0
    for _ in range(epochs):
        for x, t in zip(X, np.where(target == 1, 1.0, -1.0), strict=True):
            if t * (x @ weights + intercept) <= 0:
                weights += t * x
                intercept += t
    return weights, intercept


def a_perceptron_learns() -> None:
    say("""Nobody needs to choose the weights: the perceptron learns them from examples. Whenever it is wrong, it adds
        the input to its weights, or subtracts it if it fired and should not have. It may start from any weights, zero
        or random; the weights it ends with differ, what it says does not.""")
    random_weights = np.random.default_rng(0).normal(size=2)
    print(f"\n  {'learns':8}{'starts from':>16}{'ends with':>16}{'intercept':>11}   says")
    for name, target in {"AND": AND, "OR": OR}.items():
        for start in (np.zeros(2), random_weights):
            # Without tol it does not stop early: 20 times through the four examples, in order.
            neuron = Perceptron(max_iter=20, tol=None, shuffle=False).fit(CORNERS, target, coef_init=start)
            says = neuron.predict(CORNERS)
            assert says.tolist() == target.tolist()
            by_hand, intercept = rosenblatt(CORNERS, target, start, epochs=20)
            assert np.allclose(neuron.coef_, by_hand) and neuron.intercept_ == intercept
            w = [f"{a:6.2f}, {b:5.2f}" for a, b in (start, neuron.coef_[0])]
            print(f"  {name:8}{w[0]:>16}{w[1]:>16}{neuron.intercept_[0]:11.2f}   {says}")


# ---- 4. A smooth neuron ---------------------------------------------------------------------------------------------


def a_smooth_neuron_learns() -> None:
    say("""With a sigmoid in place of the step, the neuron gives a degree between 0 and 1, and its error has a slope. It
        learns by gradient descent: a small step downhill after every example.""")
    neuron = Perceptron(activation="sigmoid", eta0=1.0, max_iter=1000, tol=None).fit(CORNERS, AND)
    outputs = ops.sigmoid(CORNERS @ neuron.coef_[0] + neuron.intercept_[0])
    print("\n  AND of " + "".join(f"{corner.astype(int)!s:>8}" for corner in CORNERS))
    print("  output " + "".join(f"{output:8.3f}" for output in outputs))
    assert np.abs(outputs - AND).max() < 0.1


# ---- 5. What one neuron cannot learn --------------------------------------------------------------------------------


def xor_is_too_much_for_one_neuron() -> None:
    say("""A neuron draws one straight line through the plane of its inputs and fires on one side of it. XOR, one or the
        other but not both, wants (0, 1) and (1, 0) on one side, (0, 0) and (1, 1) on the other. No line does that.""")
    neuron = Perceptron(max_iter=10_000, tol=None).fit(CORNERS, XOR)
    learned = np.count_nonzero(neuron.predict(CORNERS) == XOR)

    weights, intercepts = np.split(np.random.default_rng(0).normal(size=(3, 100_000)), [2])
    says = ops.linear(CORNERS, weights, intercepts[0], activation="step")  # 100,000 neurons at once, one a column
    best = np.count_nonzero(says == XOR[:, np.newaxis], axis=0).max()

    print(f"\n  a perceptron after 10,000 epochs: {learned} of 4 right")
    print(f"  the best of 100,000 random lines: {best} of 4 right")
    assert learned < 4 and best == 3


# ---- 6. A hidden layer ----------------------------------------------------------------------------------------------


def a_hidden_layer() -> None:
    say("""Put neurons behind neurons. One hidden neuron computes OR, another AND; the output fires for OR without AND,
        and that is XOR.""")
    hidden = ops.linear(CORNERS, np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([-0.5, -1.5]), activation="step")
    output = ops.linear(hidden, np.array([[1.0], [-1.0]]), np.array([-0.5]), activation="step")
    print("\n  inputs    OR  AND   XOR")
    for corner, (a, b), (xor,) in zip(CORNERS.astype(int), hidden, output, strict=True):
        print(f"  {corner}  {a:4.0f} {b:4.0f}  {xor:4.0f}")
    assert output.ravel().tolist() == XOR.tolist()

    print()
    say("""A network finds such weights by itself. Backpropagation computes the slope of the error for every weight,
        from the output back to the input, and every weight goes a small step downhill. Eight hidden neurons with tanh,
        starting from random weights:""")
    network = MLP((2, 8, 1), activation="tanh", loss="binary_log_loss", learning_rate_init=0.05, random_state=0)
    print("\n  epoch    loss   outputs for the four inputs")
    for epoch in range(201):
        if epoch in (0, 10, 50, 100, 200):
            outputs = network.forward(CORNERS).ravel()
            print(f"  {epoch:5}{network.loss(CORNERS, XOR):8.4f}   " + "  ".join(f"{p:.3f}" for p in outputs))
        network.train_epoch(CORNERS, XOR, batch_size=4)
    assert np.abs(outputs - XOR).max() < 0.05


# ---- 7. Backpropagation ---------------------------------------------------------------------------------------------


def backpropagation_checked() -> None:
    say("""Backpropagation is the chain rule. In a network of two neurons in a row, h = tanh(w1 x + b1) and
        y = w2 h + b2, with the error E = (y - t)² / 2, the slope of E for w1 is the product of the slopes on the way
        from E back to w1.""")
    network = MLP((1, 1, 1), activation="tanh", dtype="float64", random_state=0)
    x, t = 1.5, 0.25
    (((w1,),), ((w2,),)), ((b1,), (b2,)) = network.coefs_, network.intercepts_

    h = np.tanh(w1 * x + b1)
    y = w2 * h + b2
    by_hand = (y - t) * w2 * (1 - h**2) * x  # dE/dy · dy/dh · dh/dz · dz/dw1

    (backpropagated, _), _ = network.gradients([[x]], [[t]])
    print(f"\n  by hand             {by_hand:.12f}")
    print(f"  backpropagation     {backpropagated.item():.12f}")
    assert np.isclose(backpropagated.item(), by_hand, rtol=1e-13)

    change = 1e-5
    errors = []
    for w in (w1 + change, w1 - change):
        network.coefs_[0][0, 0] = w
        errors.append(network.loss([[x]], [[t]]))
    measured = (errors[0] - errors[1]) / (2 * change)
    print(f"  w1 moved by ±{change:g}  {measured:.12f}")
    assert np.isclose(measured, by_hand, rtol=1e-8)


# ---- 8. A layer is a matrix -----------------------------------------------------------------------------------------


def a_layer_is_a_matrix() -> None:
    say("""The neurons of a layer have the same inputs. Write the weights of each as one column of a matrix W and the
        samples as the rows of a matrix X: then X W + b is the whole layer for all samples, a single matrix product.
        That is what computers are good at.""")
    rng = np.random.default_rng(0)
    X, W, b = rng.normal(size=(1000, 20)), rng.normal(size=(20, 64)), rng.normal(size=64)

    layer = ops.linear(X, W, b, activation="tanh")
    neuron_by_neuron = np.empty_like(layer)
    for j in range(64):
        neuron_by_neuron[:, [j]] = ops.linear(X, W[:, [j]], b[[j]], activation="tanh")

    print("\n  64 neurons with 20 inputs, 1000 samples: the layer and its neurons one by one agree bit for bit")
    assert np.array_equal(layer, neuron_by_neuron)
    assert np.allclose(layer, np.tanh(X @ W + b))


# ---- 9. A deep network ----------------------------------------------------------------------------------------------


def a_deep_network() -> None:
    say("""Now real data: 1,797 images of handwritten digits, 8 × 8 pixels each. First ten neurons, one a digit; then a
        network with two hidden layers, where each layer works on what the one before has found. A quarter of the images
        is kept aside, to be read by what never saw them.""")
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

    neurons = make_pipeline(StandardScaler(), Perceptron(random_state=0)).fit(X_train, y_train)
    network = make_pipeline(StandardScaler(), MLPClassifier((64, 32), random_state=0)).fit(X_train, y_train)

    ten, deep = neurons.score(X_test, y_test), network.score(X_test, y_test)
    print(f"\n  ten perceptrons                {ten:6.1%} of the new images read correctly")
    print(f"  network 64-64-32-10            {deep:6.1%}")
    assert deep > 0.95 and deep > ten


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="for activations.png (default: here)")
    folder = parser.parse_args().folder
    steps = {
        "A neuron fires, or it does not": a_neuron,
        "Activation functions": lambda: activation_functions(folder),
        "A perceptron learns": a_perceptron_learns,
        "A smooth neuron learns": a_smooth_neuron_learns,
        "What one neuron cannot learn": xor_is_too_much_for_one_neuron,
        "A hidden layer": a_hidden_layer,
        "Backpropagation, checked": backpropagation_checked,
        "A layer is a matrix": a_layer_is_a_matrix,
        "A deep network": a_deep_network,
    }
    for number, (title, step) in enumerate(steps.items(), start=1):
        print(f"\n{number}. {title}\n")
        step()
    print("\nAll nine steps did what they say.")


if __name__ == "__main__":
    main()
