"""What a sampling engine is: prompts in, samples out. An engine is one module beside this one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Request:
    """A prompt and how often to continue it; `name` keys its random streams, of which the first `skip` are left unused."""

    name: str
    prompt: str
    samples: int
    skip: int = 0


@dataclass
class Sample:
    """One continuation; `finish_reason` is "stop", or "length" where it was cut at `max_new_tokens`.

    `tokens` are the ids without the end token, empty where a server tells only how many they are (`n_tokens`);
    `log_likelihood` is the sum of their log probabilities at temperature 1, the end token's included, NaN where unknown.
    """

    tokens: list[int] = field(default_factory=list)
    n_tokens: int = 0
    text: str = ""
    log_likelihood: float = 0.0
    finish_reason: str = "length"


class Engine(Protocol):
    """Samples from one policy; a sample depends on its request's name, its number and `seed`, not on what else is asked."""

    @property
    def name(self) -> str:
        """What samples, with its version."""

    def sample(
        self, requests: Sequence[Request], temperature: float, max_new_tokens: int, seed: int, rows: int | None = None
    ) -> list[list[Sample]]:
        """The samples of each request, in order; at most `rows` at once, where this process and no server holds them."""


def random_stream(*parts: object) -> np.random.Generator:
    """A generator that depends on nothing but `parts`."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
