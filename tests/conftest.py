import pytest

# What builds the projects that the other files wait for.
BUILDERS = ("test_tiny_study", "test_reruns")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest first, so that two workers (`make test`) end together."""
    items.sort(key=lambda item: (item.path.stem not in BUILDERS, "workflow" not in item.path.parts))
