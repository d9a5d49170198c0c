"""Derive the polynomials of csrc/kernels/activation.inc.h and print them as C constants with their error bounds.

Each fit is a weighted least-squares fit in 50 digits at Chebyshev points, which comes close to the minimax polynomial.
The coefficients are rounded to the element type one at a time, lowest first, the others fitted again after each
rounding. Errors are relative to the function that the polynomial ends up in, in units of 2^-24 for float32 and 2^-53
for float64 (half a ULP just above 1). Needs mpmath.

Run: python tools/coefficients.py
"""

from collections.abc import Callable

import mpmath as mp  # type: ignore[import-untyped]
from mpmath import mpf

mp.mp.dps = 50

Function = Callable[[mpf], mpf]

FIT_POINTS = 64
CHECK_POINTS = 2000
PRECISION = {"float32": 24, "float64": 53}


def round_to(x: mpf, bits: int) -> mpf:
    """x rounded to a significand of `bits` bits."""
    mantissa, exponent = mp.frexp(x)
    return mp.ldexp(mp.nint(mp.ldexp(mantissa, bits)), exponent - bits)


def polynomial(coefficients: list[mpf], x: mpf) -> mpf:
    """The polynomial with these coefficients, the constant one first."""
    return mp.polyval(coefficients[::-1], x)


def chebyshev_points(low: mpf, high: mpf, count: int) -> list[mpf]:
    """Zeros of the Chebyshev polynomial of degree `count`, moved to [low, high]."""
    return [(low + high + (high - low) * mp.cos(mp.pi * (i + mpf("0.5")) / count)) / 2 for i in range(count)]


def fit(f: Function, weight: Function, degree: int, low: mpf, high: mpf, bits: int) -> tuple[list[mpf], mpf]:
    """Rounded coefficients of p, the constant one first, and max |weight (p - f)| on [low, high]."""
    points = chebyshev_points(low, high, FIT_POINTS)
    rounded: list[mpf] = []
    while len(rounded) <= degree:
        powers = range(len(rounded), degree + 1)
        system = mp.matrix([[weight(x) * x**k for k in powers] for x in points])
        right = mp.matrix([weight(x) * (f(x) - polynomial(rounded or [mpf(0)], x)) for x in points])
        solution, _ = mp.qr_solve(system, right)
        rounded.append(round_to(solution[0], bits))
    error = max(abs(weight(x) * (polynomial(rounded, x) - f(x))) for x in chebyshev_points(low, high, CHECK_POINTS))
    return rounded, error


def show(name: str, dtype: str, coefficients: list[mpf], error: mpf) -> None:
    """Print one table of constants."""
    suffix = "f" if dtype == "float32" else ""
    unit = mp.ldexp(1, -PRECISION[dtype])
    print(f"{name}, {dtype}: degree {len(coefficients) - 1}, error {mp.nstr(error / unit, 2)}")
    for c in coefficients:
        print(f"    {float(c).hex()}{suffix},")


def exp_tail(r: mpf) -> mpf:
    """(e^r - 1 - r) / r^2, so that e^r - 1 = r + r^2 exp_tail(r)."""
    return (mp.expm1(r) - r) / r**2


def exp_weight(r: mpf) -> mpf:
    """What an error of exp_tail comes to, relative to e^r - 1."""
    return r**2 / abs(mp.expm1(r))


def log_tail(z: mpf) -> mpf:
    """(log((1 + s) / (1 - s)) - 2 s) / s^3 with z = s^2."""
    s = mp.sqrt(z)
    return 2 * (mp.atanh(s) - s) / s**3


def log_weight(z: mpf) -> mpf:
    """What an error of log_tail comes to, relative to log((1 + s) / (1 - s)), which is about 2 s."""
    return z / 2


def normal_ratio(v: mpf) -> mpf:
    """(1 - erf(a / sqrt(2))) / 2 / e^(-a^2 / 2) / u with u = 1 / (1 + a / 4) and v = u - 1/2."""
    u = v + mpf("0.5")
    a = 4 * (1 / u - 1)
    return mp.erfc(a / mp.sqrt(2)) * mp.exp(a**2 / 2) / (2 * u)


def normal_weight(v: mpf) -> mpf:
    """Its errors are relative to itself."""
    return 1 / normal_ratio(v)


def main() -> None:
    """Print every constant."""
    half_ln2 = mp.log(2) / 2
    largest_s = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
    # The high part of ln 2 has few enough bits that its product with any exponent is exact without an FMA.
    rows = (("float32", 4, 2, 16, 9, 15), ("float64", 9, 6, 42, 22, 39))
    for dtype, exp_degree, log_degree, high_bits, normal_degree, normal_high in rows:
        bits = PRECISION[dtype]
        high = round_to(mp.log(2), high_bits)
        print(f"ln 2, {dtype}: {float(high).hex()} + {float(round_to(mp.log(2) - high, bits)).hex()}")
        show("exp_tail", dtype, *fit(exp_tail, exp_weight, exp_degree, -half_ln2, half_ln2, bits))
        show("log_tail", dtype, *fit(log_tail, log_weight, log_degree, mpf(0), largest_s**2, bits))
        low = 1 / (1 + mpf(normal_high) / 4) - mpf("0.5")
        show("normal_ratio", dtype, *fit(normal_ratio, normal_weight, normal_degree, low, mpf("0.5"), bits))


if __name__ == "__main__":
    main()
