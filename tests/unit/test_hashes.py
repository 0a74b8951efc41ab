"""The hashes that are part of results have the values that they had in every release."""

import pytest

from pqm.hashes import checkpoint_hash, question_hash
from pqm.workflow.code import code


def test_a_question_has_the_hash_of_its_text():
    assert question_hash("What is 2 + 3?") == "1ea26256ebae"
    assert question_hash("") == "e3b0c44298fc"


def test_a_checkpoint_has_the_hash_of_its_weights(tmp_path):
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    (tmp_path / "model-1.safetensors").write_bytes(b"one")
    (tmp_path / "config.json").write_text("{}")
    assert checkpoint_hash(tmp_path) == "25b6746d5172ed63"


@pytest.mark.parametrize("kind", ["questions", "annotated", "published_labels", "scores", "report"])
def test_results_depend_on_the_code_of_their_hashes(kind):
    assert "src/pqm/hashes.py" in code(kind)
