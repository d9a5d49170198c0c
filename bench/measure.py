"""What the benchmarks share: how systems take turns, what is made of their times, and the table and file it goes to.

A system may run in variants, labelled such as "PyTorch, threads: 1". All are measured and go into the JSON file; the
table shows the fastest of each system.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from bench.machine import n_cpus, summary

REST, WAKING = 0.3, 0.1  # seconds before each turn


def command_line(module: str, text: str | None, sizes: list[str]) -> argparse.ArgumentParser:
    """The options of every benchmark, and its text as help."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choice = f"of {', '.join(sizes)} (default: all)"
    parser.add_argument("--sizes", nargs="+", choices=sizes, default=sizes, metavar="NETWORK", help=choice)
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="turns of each system (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to this file")
    return parser


def turns(systems: dict[str, Callable], repeats: int) -> Iterator[tuple[str, Callable]]:
    """Label and function of each system in turn, `repeats` times over. Before each turn there is a rest, in which the
    waiting threads of the one before fall asleep: spinning threads make the next one up to four times slower. Then the
    CPUs are woken: one that has idled is slow for more than a tenth of a second (20-64-64-1, row by row: 11.7 µs a step
    in place of 8), which would be the whole turn of a small network."""
    with ThreadPoolExecutor(n_cpus()) as pool:
        for _ in range(repeats):
            for label, run in systems.items():
                time.sleep(REST)
                list(pool.map(_keep_busy, [WAKING] * n_cpus()))
                yield label, run


def _keep_busy(seconds: float) -> None:
    """One CPU, without holding the GIL."""
    block, end = bytes(1 << 16), time.perf_counter() + seconds
    while time.perf_counter() < end:
        zlib.crc32(block)


def spread(samples: list[float]) -> dict[str, Any]:
    """Quartiles, the best, and the samples themselves."""
    quartiles = np.percentile(samples, (25, 50, 75)).tolist()
    return dict(zip(("low", "median", "high"), quartiles, strict=True)) | {"best": min(samples), "samples": samples}


def fastest(times: dict[str, dict]) -> dict[str, dict]:
    """The times of the fastest variant of each system, by the system's name."""
    best: dict[str, dict] = {}
    for label in sorted(times, key=lambda label: times[label]["median"]):
        best.setdefault(label.split(", ")[0], times[label])
    return best


def compare(times: dict[str, dict], flop: int, peak: float) -> dict[str, float]:
    """What a row says of nnfast, from microseconds, operations, and the machine's GFLOP/s. The estimator is compared
    with scikit-learn's; nnfast's fastest way with the fastest of all others."""
    medians = {name: t["median"] for name, t in fastest(times).items()}
    ours = min(median for name, median in medians.items() if name.startswith("nnfast"))
    best_peer = min(median for name, median in medians.items() if not name.startswith("nnfast"))
    gflops = flop / ours * 1e-3
    return {
        "times_scikit_learn": medians["scikit-learn"] / medians["nnfast"],
        "times_best_peer": best_peer / ours,
        "gflops": gflops,
        "share_of_peak": gflops / peak,
    }


# ---- table and file --------------------------------------------------------------------------------------------------


def cell(times: dict[str, Any]) -> str:
    """Median and quartiles in a unit that suits the median: 73.1 ms (71.0-75.2)."""
    median = times["median"]
    scale, unit = (1e6, "s") if median >= 1e6 else (1e3, "ms") if median >= 1e3 else (1, "µs")
    digits = max(0, 2 - math.floor(math.log10(median / scale)))
    middle, low, high = (f"{times[key] / scale:.{digits}f}" for key in ("median", "low", "high"))
    return f"{middle} {unit} ({low}-{high})"


def line(row: dict[str, Any], names: Iterable[str]) -> str:
    if not row["valid"]:
        return f"{row['title']:<30}void: the systems came to different ends, {row['evidence']}"
    best = fastest(row["times"])
    cells = "".join(f"{cell(best[name]):>24}" for name in names)
    ratios = f"{row['times_scikit_learn']:>11.1f} {row['times_best_peer']:>10.1f}"
    return f"{row['title']:<30}{cells}{ratios}{row['gflops']:>9.1f}{row['share_of_peak']:>8.1%}"


def report(machine: dict[str, Any], systems: Iterable[str], rows: Iterable[dict[str, Any]], file: Path | None) -> int:
    """Print the machine and each row as it comes, write all to the file; the exit status."""
    print(summary(machine))
    print("Median (quartiles); × says how many times nnfast's time. GFLOP/s are nnfast's, in matrix products alone.\n")
    names = list(dict.fromkeys(label.split(", ")[0] for label in systems))
    ratios = f"{'× sklearn':>11} {'× best peer'}{'GFLOP/s':>8}{'of peak':>8}"
    print(f"{'':<30}{''.join(f'{name:>24}' for name in names)}{ratios}", flush=True)
    done = []
    for row in rows:
        done.append(row)
        print(line(row, names), flush=True)
    if file:
        file.write_text(json.dumps({"machine": machine, "rows": done}, indent=1) + "\n")
    return 0 if all(row["valid"] for row in done) else 1
