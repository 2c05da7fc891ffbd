"""Model: the champion. Group ``model``."""

import dagster as dg

from assets.results import Events, check_spec, record
from countersign import checks
from countersign.steps import model as steps
from countersign.version import code_version
from resources import ClockResource, ProjectResource


@dg.asset(
    group_name="model",
    owners=["team:quant"],
    kinds={"json", "scikitlearn"},
    code_version=code_version(),
    deps=["price_history"],
    check_specs=[
        check_spec("model", checks.beats_baseline, name="volatility_beats_baseline", blocking=False),
        check_spec("model", checks.beats_baseline, name="bad_week_beats_baseline", blocking=False),
    ],
)
def model(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """The model in service. Trains on the history and is deployed where there is no model yet; never replaces one.

    If it fails: the history is too short to learn from, or another model is in service and stays. Replacing a model
    takes a person's decision.
    """
    yield from record(context, project, clock, lambda opened, now: [steps.train_first_model(opened, now)])
