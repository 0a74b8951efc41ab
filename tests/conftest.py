import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shares the tests out to two workers (`make test`): builds first, what uses one build together, else a file together."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)
    for item in items:
        built = {"dvc_project", "snakemake_project"} & set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group(min(built, default=item.path.stem)))
