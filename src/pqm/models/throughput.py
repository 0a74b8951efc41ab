"""Training throughput: tokens per second, and on a GPU the model FLOPs utilization (MFU) relative to its measured matrix rate."""

import time
from typing import cast

import torch
from transformers import PreTrainedModel

SIDE, PRODUCTS = 8192, 20
# Forward and backward pass, multiplications and additions; the attention products are not counted.
OPERATIONS_PER_WEIGHT = 6


class Throughput:
    """Measures the tokens per second since the last call of `start`."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._device = model.device
        embedding = cast(torch.Tensor, model.get_input_embeddings().weight)
        self._operations_per_token = OPERATIONS_PER_WEIGHT * (sum(one.numel() for one in model.parameters()) - embedding.numel())
        self._matrix_rate = matrix_rate(self._device) if self._device.type == "cuda" else None
        self.start()

    def start(self) -> None:
        """Restart the measurement."""
        self._tokens, self._begin = 0, self._now()

    def count(self, tokens: int) -> None:
        """Add processed tokens."""
        self._tokens += tokens

    def take(self) -> str:
        """The rate since the start, as text."""
        rate = self._tokens / max(self._now() - self._begin, 1e-9)
        if self._matrix_rate is None:
            return f"{rate:,.0f} tokens/s"
        share = rate * self._operations_per_token / self._matrix_rate
        return f"{rate:,.0f} tokens/s, MFU {share:.1%} of the measured {self._matrix_rate / 1e12:,.0f} TFLOP/s (bfloat16)"

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def matrix_rate(device: torch.device) -> float:
    """The measured rate of large bfloat16 matrix products, in operations per second."""
    left, right = torch.randn(2, SIDE, SIDE, device=device, dtype=torch.bfloat16)

    def seconds(products: int) -> float:
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        for _ in range(products):
            left @ right
        torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    seconds(PRODUCTS)  # warm-up
    return PRODUCTS * 2 * SIDE**3 / seconds(PRODUCTS)
