"""Resources: configuration that Dagster hands to assets. Each hands out a plain object of ``countersign``.

Does not belong here: work, state, the environment (``definitions`` reads it).
"""

from resources.clock import ClockResource
from resources.project import ProjectResource

__all__ = ["ClockResource", "ProjectResource"]
