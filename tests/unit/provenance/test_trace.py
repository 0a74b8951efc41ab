"""The provenance of an output as a tree."""

from pathlib import Path

import pytest
from study_x import CODE, ROLLOUTS, STUDY, TRAIN, WHOLE, record_of, write_study

from pqm.provenance.check import check
from pqm.provenance.trace import trace


def test_the_provenance_of_an_output_ends_with_settings_and_code(chain, run_pqm):
    assert trace(Path(chain)) == WHOLE + "nothing has changed"
    assert run_pqm("provenance", chain) == (0, WHOLE + "nothing has changed\n", "")
    for path in (chain, "results/x/tables/main.md", "results/x/tables/main.record.json", Path(chain).resolve()):
        assert trace(Path(path)) == trace(Path(chain))


def test_changes_are_shown_at_their_place(chain):
    Path(CODE).write_text("problems = 2\n")
    write_study(STUDY | {"rollouts": {"test": ROLLOUTS | {"seed": 5}}})
    Path("config/reported.csv").unlink()
    Path(TRAIN).write_text("edited")
    Path("results/x/tables/main.md").unlink()
    expected = (
        WHOLE.replace(f"{CODE}: same", f"{CODE}: CHANGED")
        .replace("rollouts (seed 0): same", "rollouts: CHANGED")
        .replace("rollouts.test (seed 0): same", "rollouts.test: CHANGED")
        .replace("reported.csv: same", "reported.csv: absent")
        .replace(f"{TRAIN}: same", f"{TRAIN}: CHANGED")
        .replace("and 1 more: same", "and 1 more: absent")
    )
    assert trace(Path(chain)) == expected + "8 of 20 lines have changed"


def test_a_removed_setting_is_shown_as_changed_and_a_moved_output_as_absent(chain):
    write_study(STUDY | {"questions": {"test": STUDY["questions"]["test"]}})
    check("x", "questions")
    told = trace(Path(chain))
    assert f"  file     {TRAIN}: absent" in told and "see above" in told  # its record moved with it
    assert told.endswith("1 of 16 lines have changed")
    write_study({"rollouts": {"test": ROLLOUTS}})
    assert "          setting  questions.test: CHANGED" in trace(Path(chain))


def test_a_file_in_an_output_folder_has_the_provenance_of_the_folder(built):
    record_of("results/x/checkpoints/bce/seed-0", ["rollouts"], [])
    told = trace(Path("results/x/checkpoints/bce/seed-0/inner/weights"))
    assert told.splitlines()[0] == "results/x/checkpoints/bce/seed-0: same"
    assert trace(Path("results/x/checkpoints/bce/seed-0/no-such-file")) == told


@pytest.mark.parametrize(
    "path", ["README.md", "config/x/study.yaml", "data/x", "results", "/elsewhere/results/x/tables/main.csv"]
)
def test_a_path_of_no_study_is_refused(path, built, run_cli):
    assert run_cli("provenance", path) == (1, f"pqm: {path}: expected a path below data/STUDY or results/STUDY\n")


def test_an_output_that_no_record_names_is_refused(built, run_cli):
    code, told = run_cli("provenance", "data/x/questions/other.parquet")
    assert code == 1 and told.startswith("pqm: data/x/questions/other.parquet: no record; expected an output in ")
    assert "data/x/questions" in told and "results/x/tables" in told
    assert run_cli("provenance", "data/y/questions/other.parquet") == (
        1,
        "pqm: config/y/study.yaml: no such study; known studies: x\n",
    )
