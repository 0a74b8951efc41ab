"""How much faster continuous batching samples, and how near it comes to the device's memory bandwidth: ratios measured in one run.

python benchmarks/sampling.py POLICY QUESTIONS [SAMPLES ROWS MAX_NEW_TOKENS]
"""

import sys
import time
from pathlib import Path

import torch

from pqm.io import formats
from pqm.models.sampling.engine import Request
from pqm.models.sampling.transformers_engine import TransformersEngine
from pqm.models.throughput import matrix_rate
from pqm.solution_format import SolutionFormat

BYTES, COPIES = 2**28, 20


def bandwidth(device: torch.device) -> float:
    """Bytes per second of copies within the device's memory, read and written."""
    source = torch.zeros(BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def seconds() -> float:
        begin = _now(device)
        for _ in range(COPIES):
            target.copy_(source)
        return _now(device) - begin

    seconds()  # warms up
    return COPIES * 2 * BYTES / seconds()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main(policy: Path, questions: Path, samples: int = 64, rows: int = 1024, max_new_tokens: int = 400) -> None:
    """Print tokens per second of both ways, and what reading all weights at every step would allow."""
    engine, form = TransformersEngine(policy, 1, None), SolutionFormat.load(policy)
    table = formats.read(questions, formats.QUESTIONS)
    requests = [Request(row.question_id, form.prompt(row.question), samples) for row in table.itertuples()]
    at_once = max(1, rows // samples)
    device = engine.model.device
    engine.sample(requests[:1], 1.0, 8, 0)  # warms up

    begin = _now(device)
    parts = [requests[start : start + at_once] for start in range(0, len(requests), at_once)]
    apart = [group for part in parts for group in engine.sample(part, 1.0, max_new_tokens, 0)]
    static = _now(device) - begin
    begin = _now(device)
    together = engine.sample(requests, 1.0, max_new_tokens, 0, rows)
    continuous = _now(device) - begin

    tokens = sum(one.n_tokens + 1 for group in together for one in group)
    equal = sum(one.tokens == other.tokens for pair in zip(apart, together) for one, other in zip(*pair))
    weights = sum(one.numel() * one.element_size() for one in engine.model.parameters())
    rate = bandwidth(device)
    print(f"{len(requests)} questions x {samples} samples, {tokens:,} tokens; {equal:,} samples are the same in both ways")
    print(f"batch after batch of {at_once * samples} samples: {tokens / static:,.0f} tokens/s")
    print(f"continuous, {rows} rows: {tokens / continuous:,.0f} tokens/s, {static / continuous:.2f} times as fast")
    print(
        f"memory {rate / 1e9:,.0f} GB/s, weights {weights / 1e6:,.0f} MB: read once per step they allow {rows * rate / weights:,.0f}"
        f" tokens/s, of which {tokens / continuous / (rows * rate / weights):.1%}"
    )
    if device.type == "cuda":
        print(f"large matrix products: {matrix_rate(device) / 1e12:,.0f} TFLOP/s (bfloat16)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
