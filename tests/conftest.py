import pytest


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shares the tests out to two workers (`make test`): builds first, what uses one build together, else a file together.

    What uses both goes with the build by Snakemake, which tests edit for a moment; that by DVC is only read.
    """
    items.sort(key=lambda item: "workflow" not in item.path.parts)
    for item in items:
        built = {"dvc_project", "snakemake_project"} & set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group(max(built, default=item.path.stem)))
