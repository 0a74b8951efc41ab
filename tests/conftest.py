import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import pytest

# The files with the tests that build the projects first.
BUILDERS = ("test_tiny_study", "test_reruns")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that two workers (`make test`) end together."""
    items.sort(key=lambda item: (item.path.stem not in BUILDERS, "workflow" not in item.path.parts))
