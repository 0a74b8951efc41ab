"""Sampling against `model.generate`; and batch after batch against continuous batching, for a policy and questions of your own.

python benchmarks/sampling.py
python benchmarks/sampling.py POLICY QUESTIONS [SAMPLES ROWS MAX_NEW_TOKENS]
"""

import sys
import tempfile
import time
from pathlib import Path

import bench
import inputs
import torch
from bench import Row

from pqm.io import formats
from pqm.models.sampling.engine import EngineOptions, Request
from pqm.models.sampling.transformers_engine import TransformersEngine
from pqm.models.throughput import matrix_rate
from pqm.models.tokenizing import token_ids
from pqm.solution_format import SolutionFormat

SAMPLES, QUESTIONS, TEMPERATURE, MAX_NEW_TOKENS = 64, 4, 0.7, 128  # those of the demo's test set
SIDE, PRODUCTS = 1024, 20  # of the matrix products that show the processor's rate
BYTES, COPIES = 2**28, 20


class Comparison:
    """`SAMPLES` samples of each of `QUESTIONS` questions, in three ways; each way sets `tokens`, end tokens included."""

    def __init__(self, policy: Path, texts: list[str]) -> None:
        self.engine = TransformersEngine(policy, EngineOptions())
        form = SolutionFormat.load(policy)
        self.requests = [Request(f"question {number}", form.prompt(text), SAMPLES) for number, text in enumerate(texts)]
        self.tokens: dict[str, int] = {}

    def together(self) -> None:
        """The package's way: all questions in one batch."""
        self._count("together", self._sample(self.requests))

    def apart(self) -> None:
        """The package's sampler, one question at a time."""
        self._count("apart", sum(self._sample([request]) for request in self.requests))

    def _sample(self, requests: list[Request]) -> int:
        groups = self.engine.sample(requests, TEMPERATURE, MAX_NEW_TOKENS, seed=0)
        return sum(one.n_tokens + (one.finish_reason == "stop") for group in groups for one in group)

    def generate(self) -> None:
        """`model.generate(num_return_sequences=SAMPLES)`, one question at a time."""
        torch.manual_seed(0)
        total, end = 0, self.engine.tokenizer.eos_token_id
        for request in self.requests:
            prompt = torch.tensor([token_ids(self.engine.tokenizer, request.prompt)])
            written = self.engine.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=0,
                num_return_sequences=SAMPLES,
                max_new_tokens=MAX_NEW_TOKENS,
                pad_token_id=self.engine.tokenizer.pad_token_id,
            )[:, prompt.shape[1] :]
            ended = (written == end).cumsum(1)
            total += int(((ended == 0) | ((ended == 1) & (written == end))).sum())
        self._count("generate", total)

    def _count(self, way: str, tokens: int) -> None:
        self.tokens[way] = tokens


def measure() -> list[Row]:
    """Tokens per CPU second beside `model.generate`, and their share of what the processor's matrix rate allows."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        policy, name = inputs.demo_policy(Path(folder))
        comparison = Comparison(policy, list(inputs.questions(QUESTIONS)["question"]))
    ways = (comparison.together, comparison.apart, comparison.generate)
    seconds = bench.cpu_seconds(*ways)
    together, apart, generate = (comparison.tokens[way.__name__] / taken for way, taken in zip(ways, seconds))
    model = comparison.engine.model
    operations = 2 * (sum(one.numel() for one in model.parameters()) - model.get_input_embeddings().weight.numel())
    rate = processor_rate()
    work = f"{SAMPLES} samples of each of {QUESTIONS} questions"
    note = f"{name}; {comparison.tokens['together']:,} tokens, generate {comparison.tokens['generate']:,}"
    limit = (
        f"{operations / 1e6:.2f} MFLOP per token for the weights, at {rate / 1e9:,.0f} GFLOP per CPU-s of large matrix products"
    )
    used = bench.versions("torch", "transformers")
    return [
        Row("sampling", f"{work}, one question at a time", apart, generate, "tokens/CPU-s", apart / generate, "", note),
        Row("sampling", f"{work}, all together", together, generate, "tokens/CPU-s", together / generate, "", used),
        Row(
            "sampling", f"{work}, all together: share of the FLOP limit", 100 * together * operations / rate, unit="%", note=limit
        ),
    ]


def processor_rate() -> float:
    """The rate of large float32 matrix products with one thread, in operations per CPU second."""
    left, right = torch.randn(2, SIDE, SIDE)

    def products() -> None:
        for _ in range(PRODUCTS):
            left @ right

    return PRODUCTS * 2 * SIDE**3 / bench.cpu_seconds(products)[0]


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


def continuous(policy: Path, questions: Path, samples: int = 64, rows: int = 1024, max_new_tokens: int = 400) -> None:
    """Print tokens per second of both ways, and what reading all weights at every step would allow."""
    engine, form = TransformersEngine(policy, EngineOptions()), SolutionFormat.load(policy)
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
    joined = _now(device) - begin

    tokens = sum(one.n_tokens + 1 for group in together for one in group)
    equal = sum(one.tokens == other.tokens for pair in zip(apart, together) for one, other in zip(*pair))
    weights = sum(one.numel() * one.element_size() for one in engine.model.parameters())
    rate = bandwidth(device)
    print(f"{len(requests)} questions x {samples} samples, {tokens:,} tokens; {equal:,} samples are the same in both ways")
    print(f"batch after batch of {at_once * samples} samples: {tokens / static:,.0f} tokens/s")
    print(f"continuous, {rows} rows: {tokens / joined:,.0f} tokens/s, {static / joined:.2f} times as fast")
    print(
        f"memory {rate / 1e9:,.0f} GB/s, weights {weights / 1e6:,.0f} MB: read once per step they allow {rows * rate / weights:,.0f}"
        f" tokens/s, of which {tokens / joined / (rows * rate / weights):.1%}"
    )
    if device.type == "cuda":
        print(f"large matrix products: {matrix_rate(device) / 1e12:,.0f} TFLOP/s (bfloat16)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        continuous(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
    else:
        bench.main(measure)
