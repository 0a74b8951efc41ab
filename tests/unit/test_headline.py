import json

import pytest

from pqm.errors import PqmError
from pqm.paper.headline import write_headline

HEAD = "policy,benchmark,backbone,method,aggregation,n,accuracy"
PASS = ["weak,test,none,pass@1,none,1,0.5", "weak,more,none,pass@1,none,1,0.3"]
BCE = ["weak,test,small,bce,min,8,0.75", "weak,more,small,bce,min,8,0.5", "weak,test,small,bce,min,2,0.125"]
PQM = ["weak,test,small,pqm-zeta4,min,8,0.875", "weak,more,small,pqm-zeta4,min,8,0.40004"]
OTHERS = [
    "weak,test,small,mse-hard,min,8,0.9",
    "weak,test,small,bce+self-consistency,min,8,0.9",
    "weak,test,none,pass@n,none,8,1.0",
]


@pytest.fixture
def headline(tmp_path, run_cli):
    def written(*rows):
        (tmp_path / "main.csv").write_text("\n".join([HEAD, *rows, ""]))
        code, told = run_cli("paper", "headline", tmp_path / "main.csv", "--output", tmp_path / "headline.json")
        assert (code, told) == (0, "")
        return json.loads((tmp_path / "headline.json").read_text())

    return written


def test_each_method_has_its_mean_over_the_cells_at_the_largest_n(headline):
    found = headline(*BCE, *PQM, *PASS, *OTHERS)
    assert found == {"n": 8, "pass@1": 0.4, "bce": 0.625, "pqm-zeta4": 0.6375, "pqm-zeta4 - bce": 0.0125}
    assert list(found) == ["n", "pass@1", "bce", "pqm-zeta4", "pqm-zeta4 - bce"]
    votes = headline(*BCE, "weak,test,none,self-consistency,none,8,0.7", "weak,test,none,step-classifier,min,8,0.25")
    assert votes == {"n": 8, "self-consistency": 0.7, "step-classifier": 0.25, "bce": 0.625}
    likelihood = headline(
        *BCE, "weak,test,small,backbone-likelihood,last,8,0.5", "weak,more,small,backbone-likelihood,last,8,0.75"
    )
    assert likelihood == {"n": 8, "backbone-likelihood": 0.625, "bce": 0.625}


def test_without_both_methods_there_is_no_difference(headline):
    assert headline(*PASS, *PQM) == {"n": 8, "pass@1": 0.4, "pqm-zeta4": 0.6375}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "missing"),
        (b"", "cannot be read"),
        (b"\xff\xfe\xf0", "cannot be read"),
        (b"policy,n\na,1\n", "no column 'benchmark'"),
    ],
)
def test_a_file_that_is_no_main_table_is_refused(content, words, tmp_path):
    table, output = tmp_path / "main.csv", tmp_path / "main.json"
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(PqmError, match=words):
        write_headline(table, output)
    assert not output.exists()
