"""A project to launch."""

from pathlib import Path

import pytest

from tests.launcher.project import Project
from tests.servers import free_port


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a small Procfile on a free port."""
    made = Project(tmp_path, free_port())
    made.write()
    return made
