"""How often 95 % intervals contain the true accuracy, or the true paired difference, in simulated studies.

PYTHONPATH=tests/unit python benchmarks/intervals.py STUDIES [one|pair]
"""

import sys
import time

import numpy as np
from simulated_studies import Design, answers, covered

from pqm.estimation.intervals import accuracy_interval, difference_interval, spread

SHAPES = ((15, 20), (70, 4), (30, 1), (100, 1), (300, 1), (500, 1), (30, 8), (100, 8), (300, 8))
SEEDS = ((1, 0.0), (1, 1.0), (3, 0.0), (3, 0.4), (3, 1.0))
ACCURACIES = (0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.95, 0.98)
PAIRS = ((0.02, 0.05), (0.1, 0.1), (0.5, 0.5), (0.5, 0.6), (0.9, 0.95), (0.98, 0.98))


def coverage(design: Design, accuracies: tuple[float, ...], studies: int) -> float:
    """The share of studies whose interval contains the truth, in percent."""
    random = np.random.default_rng([design.clusters, design.size, design.seeds, int(10 * design.seed_spread)])
    totals, truth = answers(random, design, accuracies, studies)
    if len(accuracies) == 1:
        _, low, high = accuracy_interval(totals[0], design.sizes, 0.95)
        return 100 * covered(low, high, truth[0])
    parts = spread(totals[0] - totals[1], design.sizes)
    reach, _, _ = difference_interval(parts, 0.95)
    return 100 * covered(parts.mean - reach, parts.mean + reach, truth[0] - truth[1])


def main(studies: int, kind: str) -> None:
    """Print a table: a row per design, a column per accuracy or pair; a star where the upper limit of 97 % applies."""
    columns = [(accuracy,) for accuracy in ACCURACIES] if kind == "one" else PAIRS
    print("| clusters | seeds | spread |", " | ".join("/".join(map(str, column)) for column in columns), "|")
    print("|---" * (3 + len(columns)) + "|")
    start = time.process_time()
    for clusters, size in SHAPES:
        for seeds, spread_of_seeds in SEEDS:
            design = Design(clusters, size, seeds, spread_of_seeds)
            stars = ["*" if len(column) == 1 and design.counts(column[0]) else "" for column in columns]
            shares = [coverage(design, column, studies) for column in columns]
            cells = [f"{share:.1f}{star}" for share, star in zip(shares, stars)]
            print(f"| {clusters} of {size} | {seeds} | {spread_of_seeds:g} |", " | ".join(cells), "|", flush=True)
    print(f"\n{studies} studies per design, {time.process_time() - start:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "one")
