"""How fast a model trains: tokens a second, and on a GPU the share of its measured matrix rate that the model's work takes (MFU)."""

import time
from typing import cast

import torch
from transformers import PreTrainedModel

SIDE, PRODUCTS = 8192, 20
# Forward and backward pass, multiplications and additions; attention itself is left out.
OPERATIONS_A_WEIGHT = 6


class Throughput:
    """Counts the tokens trained on since `start` was last called."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._device = model.device
        embedding = cast(torch.Tensor, model.get_input_embeddings().weight)
        self._operations_a_token = OPERATIONS_A_WEIGHT * (sum(one.numel() for one in model.parameters()) - embedding.numel())
        self._matrix_rate = matrix_rate(self._device) if self._device.type == "cuda" else None
        self.start()

    def start(self) -> None:
        """Begin to count anew."""
        self._tokens, self._begin = 0, self._now()

    def count(self, tokens: int) -> None:
        self._tokens += tokens

    def take(self) -> str:
        """The rate since the start, in words."""
        rate = self._tokens / max(self._now() - self._begin, 1e-9)
        if self._matrix_rate is None:
            return f"{rate:,.0f} tokens/s"
        share = rate * self._operations_a_token / self._matrix_rate
        return f"{rate:,.0f} tokens/s, MFU {share:.1%} of the measured {self._matrix_rate / 1e12:,.0f} TFLOP/s (bfloat16)"

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def matrix_rate(device: torch.device) -> float:
    """Operations a second of large bfloat16 matrix products, measured."""
    left, right = torch.randn(2, SIDE, SIDE, device=device, dtype=torch.bfloat16)

    def seconds(products: int) -> float:
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        for _ in range(products):
            left @ right
        torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    seconds(PRODUCTS)  # warms up
    return PRODUCTS * 2 * SIDE**3 / seconds(PRODUCTS)
