"""The project folder that assets work on.

No ``ConfigurableResource``: whoever launches a run could name another folder in its configuration, with a weaker policy
over the same artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dagster as dg

from countersign.project import Project, open_project


@dataclass(frozen=True)
class ProjectFolder:
    """The folder ``home`` with ``config/pipeline.yaml``, its artifacts and its commentary."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Where the source finds the secrets that its settings name."""

    def open(self, today: date) -> Project:
        """Read the configuration, as it is now."""
        return open_project(self.home, today, self.environment)


ProjectResource = dg.ResourceParam[ProjectFolder]
"""What assets and sensors ask for."""
