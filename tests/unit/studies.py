"""The committed studies, and a study for tests of faults."""

from pathlib import Path
from typing import Any

import pytest
from small import read_yaml

ROOT = Path(__file__).parents[2]
STUDIES = sorted([*ROOT.glob("config/*/study.yaml"), ROOT / "tests/tiny-gpu/study.yaml"])
HUB = {"hub": {"repo": "a/b", "revision": "0" * 40}, "format": {}}

each_study = pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)


def tiny_study() -> dict[str, Any]:
    """The tiny study with published and annotated solutions, and their tables."""
    content = read_yaml(ROOT / "config/tiny/study.yaml")
    published = {"kind": "file", "format": "gsm8k", "path": "gsm8k/example_model_solutions.jsonl"}
    content["solutions"] = {"gsm8k": {"source": published, "dataset": "test", "models": ["a", "b"]}}
    content["annotated"] = {"processbench": {"source": {"kind": "file", "format": "processbench", "path": "processbench.json"}}}
    content["evaluation"]["annotated"] = ["processbench"]
    content["results"]["tables"] |= {"annotated_errors": ["bce"], "published_solutions": [], "published_disagreements": []}
    return content
