import json

import pytest

from pqm.errors import PqmError
from pqm.paper.headline import write_headline


def test_each_method_has_its_accuracy_at_the_largest_n(tmp_path):
    table, output = tmp_path / "main.csv", tmp_path / "main.json"
    table.write_text(
        "policy,benchmark,backbone,method,aggregation,n,accuracy\n"
        "weak,test,none,pass@1,none,1,0.5\nweak,test,small,bce,min,8,0.75\nweak,test,small,bce,min,2,0.625\n"
    )
    write_headline(table, output)
    assert json.loads(output.read_text()) == {"weak": {"test": {"none": {"pass@1": 0.5}, "small": {"bce": 0.75}}}}


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
