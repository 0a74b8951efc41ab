"""Short hashes that are part of results: the ids of published questions, and the weights that scored a sample."""

import hashlib
from pathlib import Path


def question_hash(question: str) -> str:
    """A hash of 12 hexadecimal digits, the same for all published solutions of a question."""
    return hashlib.sha256(question.encode()).hexdigest()[:12]


def checkpoint_hash(checkpoint: Path) -> str:
    """A short hash of a checkpoint's weights, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in sorted(checkpoint.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
