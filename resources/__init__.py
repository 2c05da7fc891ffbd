"""Resources: what ``definitions`` hands to assets and sensors. Each gives out a plain object of ``countersign``.

Does not belong here: work, state, the environment (``definitions`` reads it). Nothing here that a run's configuration
could change may decide which model is in service.
"""

from resources.alerts import AlertResource
from resources.clock import Clock, ClockResource
from resources.project import ProjectFolder, ProjectResource

__all__ = ["AlertResource", "Clock", "ClockResource", "ProjectFolder", "ProjectResource"]
