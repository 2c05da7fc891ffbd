"""The rules on prices as they are shipped, for tests that clean bars without a project folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from countersign.quality import Quality, load_quality

QUALITY: Final[Quality] = load_quality(Path(__file__).parent.parent)
