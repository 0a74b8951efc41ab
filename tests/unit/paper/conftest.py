from pathlib import Path

import pytest
from made_study import make_study

from pqm.paper.figure import draw_figure
from pqm.paper.table import make_table


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def made(study):
    """The study with every table and figure made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(study.file.parents[1])  # config/reported.csv
        for name in study.config.tables:
            make_table(name, study, Path(study.layout.results, "tables"))
        for name in study.config.figures:
            draw_figure(name, study, Path(study.layout.results, "figures"))
    return study
