from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pqm.config import (
    AnnotatedConfig,
    AssumptionsConfig,
    BackboneConfig,
    EvaluationConfig,
    LabelsConfig,
    PaperConfig,
    PolicyConfig,
    PretrainingConfig,
    PublishedLabelsConfig,
    QuestionsConfig,
    ResourcesConfig,
    RolloutsConfig,
    RunConfig,
    Settings,
    TrainingConfig,
    load,
)
from pqm.errors import PqmError

ROOT = Path(__file__).parents[2]
NO_STUDY = {"accelerate"}  # files of accelerate's own, see test_machines.py
STUDIES = sorted(
    path for path in [*(ROOT / "config").iterdir(), ROOT / "tests" / "tiny"] if path.is_dir() and path.name not in NO_STUDY
)
FILES = [path for study in STUDIES for path in sorted(study.rglob("*.yaml"))]
MODELS: dict[str, type[Settings]] = {
    "annotated": AnnotatedConfig,
    "questions": QuestionsConfig,
    "pretraining": PretrainingConfig,
    "policies": PolicyConfig,
    "backbones": BackboneConfig,
    "rollouts": RolloutsConfig,
    "labels": LabelsConfig,
    "runs": RunConfig,
    "training.yaml": TrainingConfig,
    "assumptions.yaml": AssumptionsConfig,
    "evaluation.yaml": EvaluationConfig,
    "paper.yaml": PaperConfig,
    "resources.yaml": ResourcesConfig,
}
ROLLOUTS = {"samples": 4, "temperature": 0.7, "max_new_tokens": 8, "questions_per_batch": 2, "seed": 1, "threads": 1}


def model_of(path: Path) -> type[Settings]:
    study = next(study for study in STUDIES if study in path.parents)
    kind = path.relative_to(study).parts[0]
    return PublishedLabelsConfig if kind == "labels" and "source" in yaml.safe_load(path.read_text()) else MODELS[kind]


def message(path: Path, content: object, model: type[Settings] = RolloutsConfig) -> str:
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(PqmError) as refusal:
        load(model, path)
    text = str(refusal.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_settings_file_loads(path):
    load(model_of(path), path)


def test_studies_have_settings_files():
    assert {study.name for study in STUDIES} >= {"demo", "real", "tiny"}
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_one_more_key_is_refused_in_every_settings_file(path, tmp_path):
    content = yaml.safe_load(path.read_text()) | {"qqq": 1}
    assert "'qqq'" in message(tmp_path / "more.yaml", content, model_of(path))


def test_runs_file_lists_the_demo_runs():
    listed = yaml.safe_load((ROOT / "config" / "runs.yaml").read_text())["runs"]
    assert listed == sorted(path.stem for path in (ROOT / "config" / "demo" / "runs").glob("*.yaml"))


@given(data=st.data())
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_key_with_a_letter_doubled_or_missing_is_refused_and_the_right_one_named(data, tmp_path):
    key = data.draw(st.sampled_from(sorted(ROLLOUTS)))
    place = data.draw(st.integers(0, len(key) - 1))
    wrong = data.draw(st.sampled_from([key[:place] + key[place + 1 :], key[:place] + key[place] + key[place:]]))
    for content in (ROLLOUTS | {wrong: ROLLOUTS[key]}, {wrong if name == key else name: ROLLOUTS[name] for name in ROLLOUTS}):
        text = message(tmp_path / "rollouts.yaml", content)
        assert f"unknown key '{wrong}'" in text
        assert f"did you mean '{key}'" in text


def test_misspelled_nested_key_is_named_with_its_place(tmp_path):
    content = {"source": {"kind": "stories", "questons": 4, "facts": [1, 2], "seed": 1}}
    text = message(tmp_path / "questions.yaml", content, QuestionsConfig)
    assert "questons" in text and "did you mean 'questions'" in text


def test_missing_key_is_named(tmp_path):
    content = {name: value for name, value in ROLLOUTS.items() if name != "seed"}
    assert "key 'seed' is missing" in message(tmp_path / "rollouts.yaml", content)


@pytest.mark.parametrize(
    ("key", "value"),
    [("samples", "many"), ("samples", 0), ("samples", 2.5), ("samples", True), ("temperature", -1.0), ("seed", None)],
)
def test_wrong_value_is_named_and_shown(key, value, tmp_path):
    text = message(tmp_path / "rollouts.yaml", ROLLOUTS | {key: value})
    assert f"key '{key}'" in text and f"found {value!r}" in text


def test_file_that_holds_no_keys_is_refused(tmp_path):
    assert "key: value" in message(tmp_path / "rollouts.yaml", ["samples", 4])


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "rollouts.yaml"
    path.write_text("")
    with pytest.raises(PqmError, match="key: value"):
        load(RolloutsConfig, path)


@pytest.mark.parametrize("loss", ["pqm", "theorem", "first-error"])
def test_ranking_loss_needs_zeta(loss, tmp_path):
    assert "needs zeta" in message(tmp_path / "run.yaml", {"loss": loss, "labels": "a", "backbone": "b"}, RunConfig)


@pytest.mark.parametrize("loss", ["bce", "mse", "orm"])
def test_pointwise_loss_takes_no_zeta(loss, tmp_path):
    content = {"loss": loss, "zeta": 4.0, "labels": "a", "backbone": "b"}
    assert "remove zeta" in message(tmp_path / "run.yaml", content, RunConfig)


@pytest.mark.parametrize("loss", ["pqm", "orm"])
def test_soft_targets_are_for_pointwise_step_losses(loss, tmp_path):
    content = {"loss": loss, "targets": "soft", "labels": "a", "backbone": "b"} | ({"zeta": 4.0} if loss == "pqm" else {})
    assert "hard targets" in message(tmp_path / "run.yaml", content, RunConfig)


def test_range_of_facts_that_falls_is_refused(tmp_path):
    content = {"source": {"kind": "stories", "questions": 4, "facts": [2, 1], "seed": 1}}
    assert "facts" in message(tmp_path / "questions.yaml", content, QuestionsConfig)


def test_stories_of_more_facts_than_a_week_has_days_are_refused(tmp_path):
    content = {"source": {"kind": "stories", "questions": 4, "facts": [1, 8], "seed": 1}}
    assert "facts" in message(tmp_path / "questions.yaml", content, QuestionsConfig)


def test_loaded_settings_cannot_be_changed(tmp_path):
    path = tmp_path / "rollouts.yaml"
    path.write_text(yaml.safe_dump(ROLLOUTS))
    with pytest.raises(ValueError, match="frozen"):
        load(RolloutsConfig, path).samples = 8


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range_is_refused(seed, tmp_path):
    assert f"key 'seed': Input should be {'greater' if seed < 0 else 'less'}" in message(
        tmp_path / "rollouts.yaml", ROLLOUTS | {"seed": seed}
    )


def test_folder_or_binary_file_instead_of_settings_is_refused(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\xf0")
    for path in (tmp_path, binary):
        with pytest.raises(PqmError, match="cannot be read as a settings file"):
            load(RolloutsConfig, path)
