"""Jobs: the selections of assets that are run together. Does not belong here: when (``schedules``)."""

from __future__ import annotations

from typing import Final

import dagster as dg

from assets.runs import DAILY_JOB

DAILY_ASSETS: Final = ("prices_raw", "prices_clean", "features", "scores", "outcomes", "drift", "metrics", "report")

bootstrap_job = dg.define_asset_job(
    "bootstrap_job",
    selection=dg.AssetSelection.assets("price_history", "model"),
    description="Once, before the first session: load the history, train the first model and put it into service.",
)

daily_job = dg.define_asset_job(
    DAILY_JOB,
    selection=dg.AssetSelection.assets(*DAILY_ASSETS),
    description="A session, from the source to the report. Partition: the session's date.",
)
