"""Resources: configuration that Dagster hands to assets. Each hands out a plain object of ``countersign``.

Does not belong here: work, state, the environment (``definitions`` reads it).
"""

from resources.alerts import AlertResource
from resources.clock import ClockResource
from resources.project import ProjectResource

__all__ = ["AlertResource", "ClockResource", "ProjectResource"]
