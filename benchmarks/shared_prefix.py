"""How much faster reading shared prefixes once is than reading padded batches of whole solutions: a ratio measured in one run.

python benchmarks/shared_prefix.py CHECKPOINT QUESTIONS ROLLOUTS
"""

import sys
import time
from pathlib import Path

import torch

from pqm.evaluate.scores import Scorer
from pqm.io import formats
from pqm.models.prefix_trees import build_prefix_trees, step_scores
from pqm.train.train_step import scores_at

BATCH = 16


def main(checkpoint: Path, questions: Path, rollouts: Path) -> None:
    """Print CPU seconds of both ways on 20 questions, their ratio, and the largest difference of a score."""
    torch.set_num_threads(1)
    scorer = Scorer([checkpoint], "reward", 1024)
    texts = formats.read(questions, formats.QUESTIONS).set_index("question_id")["question"]
    groups = list(formats.read(rollouts, formats.ROLLOUTS).groupby("question_id"))[:20]
    encoded = [[scorer.encode(texts[name], steps) for steps in group["steps"] if len(steps)] for name, group in groups]

    start = time.process_time()
    prompts = [len(scorer.encode(texts[name], []).tokens) for name, _ in groups]
    shared = [
        step_scores(scorer.models[0], build_prefix_trees(solutions, prompt, scorer.budget))
        for solutions, prompt in zip(encoded, prompts)
    ]
    middle = time.process_time()
    alone = []
    with torch.inference_mode():
        for solutions in encoded:
            for first in range(0, len(solutions), BATCH):
                batch = solutions[first : first + BATCH]
                width, steps = max(len(one.tokens) for one in batch), max(len(one.step_ends) for one in batch)
                tokens = torch.tensor([[*one.tokens, *[0] * (width - len(one.tokens))] for one in batch])
                ends = torch.tensor([[*one.step_ends, *[0] * (steps - len(one.step_ends))] for one in batch])
                rows = scores_at(scorer.models[0], tokens, ends).tolist()
                alone += [row[: len(one.step_ends)] for row, one in zip(rows, batch)]
    end = time.process_time()
    pairs = zip([score for question in shared for one in question for score in one], [score for one in alone for score in one])
    difference = max(abs(a - b) for a, b in pairs)
    print(
        f"shared prefixes {middle - start:.2f} CPU-s, batches of {BATCH} {end - middle:.2f} CPU-s: {(end - middle) / (middle - start):.2f} x"
    )
    print(f"largest difference of a step score: {difference:.1e}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
