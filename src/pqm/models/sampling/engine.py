"""The interface of a sampling engine: prompts in, samples out.

Each engine is a module `<name>_engine.py` of this folder, with its class as `ENGINE`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from pqm.study.settings import Precision


@dataclass(frozen=True)
class Request:
    """A prompt and how often to continue it.

    Attributes:
        name: the key of its random streams, one per sample.
        skip: number of random streams to skip.
    """

    name: str
    prompt: str
    samples: int
    skip: int = 0


@dataclass
class Sample:
    """One continuation of a prompt.

    Attributes:
        tokens: token ids without the end token; empty if a server returns only their number.
        n_tokens: number of tokens.
        log_likelihood: sum of the log probabilities at temperature 1, with the end token; NaN if unknown.
        finish_reason: "stop", or "length" if it was truncated at `max_new_tokens`.
    """

    tokens: list[int] = field(default_factory=list)
    n_tokens: int = 0
    text: str = ""
    log_likelihood: float = 0.0
    finish_reason: str = "length"


class Engine(Protocol):
    """Samples from one policy. A sample depends only on its request's name, its number and `seed`, not on other requests."""

    @property
    def name(self) -> str:
        """The software that samples, with its version."""

    def sample(
        self, requests: Sequence[Request], temperature: float, max_new_tokens: int, seed: int, rows: int | None = None
    ) -> list[list[Sample]]:
        """The samples of each request, in order.

        Args:
            rows: most samples at once (None: all). Servers ignore it.
        """


@dataclass(frozen=True)
class EngineOptions:
    """How an engine runs.

    Attributes:
        threads: of this process; a server has its own.
        server: the file written by `pqm policies serve`, if the policy's server is started by a command.
        precision: of a model in this process.
    """

    threads: int = 1
    server: Path | None = None
    precision: Precision = "fp32"


# Called with the policy's folder.
EngineClass = Callable[[Path, EngineOptions], Engine]


def random_stream(*parts: object) -> np.random.Generator:
    """A random generator that depends only on `parts`."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
