from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from small import read_yaml, write_yaml
from studies import ROOT, STUDIES, each_study

from pqm.errors import PqmError
from pqm.study.reading import load, load_study
from pqm.study.rollouts import RolloutsConfig
from pqm.study.settings import Settings
from pqm.study.study import StudyConfig
from pqm.workflow.checks import faults

ITEMS = ("questions", "pretraining", "policies", "backbones", "rollouts", "solutions", "annotated", "labels", "runs")
ALONE = ("training", "evaluation", "results", "resources", "assumptions")  # sections without items
VALUES = {"arithmetic", "device", "precision"}
ROLLOUTS = {"samples": 4, "temperature": 0.7, "max_new_tokens": 8, "questions_per_batch": 2, "seed": 1, "threads": 1}
NUMBERS = count()  # files that hypothesis writes


def messages(folder: Path, content: object, model: type[Settings] = RolloutsConfig) -> list[str]:
    """The faults of a settings file, without the name of the file."""
    path = folder / f"settings-{next(NUMBERS)}.yaml"
    write_yaml(path, content)
    with pytest.raises(PqmError) as refusal:
        load(model, path)
    lines = str(refusal.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def message(folder: Path, content: object, model: type[Settings] = RolloutsConfig) -> str:
    """The only fault of a settings file."""
    [only] = messages(folder, content, model)
    return only


def item(section: str, **content: object) -> dict[str, object]:
    return {section: {"tiny": content}}


@each_study
def test_every_study_loads_and_nothing_is_wrong_with_it(path, monkeypatch):
    monkeypatch.chdir(ROOT)  # the file of accelerate
    assert faults(load_study(path)) == []


def test_there_are_studies():
    assert {path.parent.name for path in STUDIES} >= {"demo", "gpu", "paper", "published", "quick", "qwen", "tiny", "tiny-gpu"}
    assert set(StudyConfig.model_fields) == {*ITEMS, *ALONE, *VALUES}
    used = {section for path in STUDIES for section in read_yaml(path)}
    assert used == {*ITEMS, *ALONE, *VALUES}


def test_every_study_that_runs_models_says_on_what():
    devices = {path.parent.name: read_yaml(path).get("device") for path in STUDIES}
    assert devices == {
        "demo": "cpu", "tiny": "cpu", "tiny-gpu": "cpu", "gpu": "cuda", "quick": "cuda", "qwen": "cuda", "paper": "cuda",
        "published": None,
    }  # fmt: skip


@each_study
def test_one_more_key_is_refused_in_every_section_and_item(path, tmp_path):
    content = read_yaml(path)
    assert "unknown key 'qqq'" in message(tmp_path, content | {"qqq": 1}, StudyConfig)
    for section in content.keys() - VALUES:
        items = content[section] if section in ITEMS else {None: content[section]}
        assert items
        for name, settings in items.items():
            more = {**settings, "qqq": 1}
            changed = {**content[section], name: more} if name is not None else more
            place = section if name is None else f"{section}.{name}"
            assert f"{place}: unknown key 'qqq'" in message(tmp_path, content | {section: changed}, StudyConfig)


@pytest.mark.parametrize("section", ITEMS)
@pytest.mark.parametrize("name", ["a b", "a/b", "", ".", "-a", "a.yaml"])
def test_a_name_that_could_not_name_a_file_is_refused(section, name, tmp_path):
    path = next(path for path in STUDIES if section in read_yaml(path))
    content = read_yaml(path)
    content[section][name] = next(iter(content[section].values()))
    place = f"{section}.{name}: " if name else f"{section}.: "
    expected = f"{place}expected a name of letters, digits, - and _, found {name!r}"
    assert expected in message(tmp_path, content, StudyConfig)


@given(data=st.data())
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_key_with_a_letter_doubled_or_missing_is_refused_and_the_right_one_named(data, tmp_path):
    key = data.draw(st.sampled_from(sorted(ROLLOUTS)))
    place = data.draw(st.integers(0, len(key) - 1))
    wrong = data.draw(st.sampled_from([key[:place] + key[place + 1 :], key[:place] + key[place] + key[place:]]))
    told = f"unknown key '{wrong}'; did you mean '{key}'?"
    for model, content, where in (
        (RolloutsConfig, lambda settings: settings, ""),
        (StudyConfig, lambda settings: item("rollouts", **settings), "rollouts.tiny: "),
    ):
        assert message(tmp_path, content(ROLLOUTS | {wrong: ROLLOUTS[key]}), model).endswith(f"{where}{told}")
        path = tmp_path / f"misspelled-{next(NUMBERS)}.yaml"
        write_yaml(path, content({wrong if name == key else name: ROLLOUTS[name] for name in ROLLOUTS}))
        with pytest.raises(PqmError) as refusal:
            load(model, path)
        lines = str(refusal.value).splitlines()
        assert len(lines) == (1 if key == "threads" else 2)  # threads has a default
        assert any(line.endswith(f"{where}{told}") for line in lines)
        assert any(line.endswith(f"{where}key '{key}' is missing") for line in lines) == (key != "threads")


def test_misspelled_nested_key_is_named_with_its_place(tmp_path):
    content = {"kind": "word-problems", "questons": 4, "questions": 4, "facts": [1, 2], "seed": 1}
    told = message(tmp_path, item("questions", source=content), StudyConfig)
    assert told.endswith("questions.tiny.source: unknown key 'questons'; did you mean 'questions'?")


def test_missing_key_is_named(tmp_path):
    content = {name: value for name, value in ROLLOUTS.items() if name != "seed"}
    assert message(tmp_path, content) == "key 'seed' is missing"
    assert message(tmp_path, item("rollouts", **content), StudyConfig) == "line 2: rollouts.tiny: key 'seed' is missing"


@pytest.mark.parametrize(
    ("key", "value"),
    [("samples", "many"), ("samples", 0), ("samples", 2.5), ("samples", True), ("temperature", -1.0), ("seed", None)],
)
def test_wrong_value_is_named_and_shown(key, value, tmp_path):
    told = message(tmp_path, ROLLOUTS | {key: value})
    assert told.split(": ")[1] == key and told.endswith(f", found {value!r}")


def test_file_without_keys_is_refused(tmp_path):
    assert "key: value" in message(tmp_path, ["samples", 4])


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "rollouts.yaml"
    path.write_text("")
    with pytest.raises(PqmError, match="key: value"):
        load(RolloutsConfig, path)


@pytest.mark.parametrize("value", [[1], {"a": 1}, None])
def test_loss_settings_are_single_values(value, tmp_path):
    told = message(tmp_path, item("runs", loss="pqm", loss_settings={"zeta": value}, labels="a", backbone="b"), StudyConfig)
    assert "runs.tiny.loss_settings.zeta: expected a finite number, a text, true or false" in told


OLD_PHASE = {"steps": 1, "learning_rate": 0.1, "facts": [1, 2]}


@pytest.mark.parametrize(
    "section, content, told",
    [
        ("runs", {"loss": "pqm", "zeta": 4.0, "labels": "a", "backbone": "b"}, "'zeta'; it is now loss_settings.zeta"),
        ("questions", {"source": {"kind": "stories", "questions": 1, "facts": [1, 2], "seed": 0}}, "'word-problems'"),
        (
            "questions",
            {"source": {"kind": "perturbed-stories", "of": "a", "seed_questions": 1, "seed": 0}},
            "'perturbed-word-problems'",
        ),
        ("pretraining", {"phases": [OLD_PHASE | {"slipped_share": 0.5}]}, "injected_error_share"),
        ("pretraining", {"phases": [OLD_PHASE | {"slip_chance": 0.5}]}, "injected_error_chance"),
        ("pretraining", {"phases": [OLD_PHASE | {"token_mark_weight": 1.0}]}, "token_head_weight"),
        ("pretraining", {"phases": [OLD_PHASE | {"token_mark_layer": 1}]}, "token_head_layer"),
        ("pretraining", {"phases": [OLD_PHASE | {"step_mark_weight": 1.0}]}, "step_head_weight"),
        ("pretraining", {"phases": [OLD_PHASE | {"lessons": []}]}, "curriculum"),
    ],
)
def test_an_old_key_or_value_is_refused_with_its_new_name(section, content, told, tmp_path):
    [found] = [line for line in messages(tmp_path, item(section, **content), StudyConfig) if "it is now" in line]
    assert found.endswith(told)


def test_an_old_reference_is_refused_with_its_new_name(tmp_path):
    found = messages(tmp_path, {"evaluation": {"references": ["proofreader"]}}, StudyConfig)
    told = "Input should be 'likelihood' or 'step-classifier', found 'proofreader'; it is now 'step-classifier'"
    assert f"line 3: evaluation.references.0: {told}" in found


@pytest.mark.parametrize("facts", [[2, 1], [1, 8]], ids=["falls", "more than a week has days"])
def test_range_of_facts_that_cannot_be_is_refused(facts, tmp_path):
    source = {"kind": "word-problems", "questions": 4, "facts": facts, "seed": 1}
    assert "questions.tiny.source.facts: expected [least, most]" in message(
        tmp_path, item("questions", source=source), StudyConfig
    )


def test_loaded_settings_cannot_be_changed(tmp_path):
    write_yaml(tmp_path / "study.yaml", item("rollouts", **ROLLOUTS))
    study = load_study(tmp_path / "study.yaml")
    with pytest.raises(ValueError, match="frozen"):
        study.rollouts["tiny"].samples = 8
    with pytest.raises(ValueError, match="frozen"):
        study.rollouts = {}


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range_is_refused(seed, tmp_path):
    assert f": seed: Input should be {'greater' if seed < 0 else 'less'}" in message(tmp_path, ROLLOUTS | {"seed": seed})


def test_folder_or_binary_file_instead_of_settings_is_refused(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\xf0")
    for path in (tmp_path, binary):
        with pytest.raises(PqmError, match="cannot be read as a settings file"):
            load(RolloutsConfig, path)
