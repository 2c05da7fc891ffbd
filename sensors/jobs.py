"""Jobs: the selections of assets that are run together. Does not belong here: when (``schedules``)."""

from __future__ import annotations

from typing import Final

import dagster as dg

from assets.runs import DAILY_JOB

DAILY_ASSETS: Final = ("prices_raw", "prices_clean", "features", "scores", "outcomes", "drift", "metrics", "report")

_STANDING: Final = dg.AssetSelection.checks(
    dg.AssetCheckKey(dg.AssetKey("candidate"), "signed_off"), dg.AssetCheckKey(dg.AssetKey("model"), "ratified")
)
"""What a decision or a deployment changes."""

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

retrain_job = dg.define_asset_job(
    "retrain_job",
    selection=dg.AssetSelection.assets("candidate"),
    description="A candidate, its evidence, and the request for a signature. Launched by drift_sensor, or by a person.",
)

deploy_job = dg.define_asset_job(
    "deploy_job",
    selection=dg.AssetSelection.assets("model") | _STANDING,
    description="Puts into service what a signed decision made due, and nothing else. Launched by sign_off_sensor.",
)

sign_off_job = dg.define_asset_job(
    "sign_off_job",
    selection=dg.AssetSelection.assets("sign_off") | _STANDING,
    description=(
        "A person's signed decision: press Materialize, paste what `countersign sign --print-config` prints over what "
        "the launchpad holds, and press Materialize there."
    ),
)

weekly_job = dg.define_asset_job(
    "weekly_job",
    selection=dg.AssetSelection.assets("weekly_review"),
    description="The review of a week that has ended. Partition: its Monday.",
)
