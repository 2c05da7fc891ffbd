"""The project folder that assets work on."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg

from countersign.project import Project, open_project


class ProjectResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic in a value that we do not hand out
    """A folder with ``config/pipeline.yaml``, its artifacts and its commentary."""

    home: str
    """Absolute path."""

    def open(self, today: date) -> Project:
        """Read the configuration, as it is now."""
        return open_project(Path(self.home), today)
