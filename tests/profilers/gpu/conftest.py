"""The stand-in for NVIDIA's driver, built once."""

from pathlib import Path

import pytest

from tests.profilers.gpu import driver as stand_in


@pytest.fixture(scope="session")
def driver(tmp_path_factory) -> Path:
    """A folder with a library that looks like the driver's."""
    return stand_in.build(tmp_path_factory.mktemp("driver"))
