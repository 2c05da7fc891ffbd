"""Model: the champion, the candidate that asks to replace it, and a person's decision. Group ``model``."""

import dagster as dg

from assets.results import Events, check_result, check_spec, record
from countersign import checks
from countersign.steps import gate as gate_steps
from countersign.steps import model as steps
from countersign.steps import retrain as retrain_steps
from countersign.version import code_version
from resources import ClockResource, ProjectResource

_GROUP = "model"


@dg.asset(
    group_name=_GROUP,
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
    """The model in service: the first one, trained on the history, then whatever a signed decision puts there.

    If it fails: the history is too short to learn from; or no decision makes a deployment due, which the message
    explains. Launching this is never an approval: `countersign review` shows what waits, `countersign approve` signs.
    """
    yield from record(context, project, clock, lambda opened, now: [steps.model_in_service(opened, now)])


class RetrainConfig(dg.Config):
    """Left empty where monitoring, or `countersign retrain`, has asked already."""

    reason: str = ""
    """Why a new model is wanted."""
    asked_by: str = ""
    """The name, as in allowed_signers, of who asks: that person may not sign for what comes of it."""


@dg.asset(
    group_name=_GROUP,
    owners=["team:quant"],
    kinds={"json", "scikitlearn"},
    code_version=code_version(),
    deps=["price_history", "prices_clean", "drift", "metrics"],
    check_specs=[
        dg.AssetCheckSpec(name, asset="candidate", description=meaning, blocking=True)
        for name, meaning in retrain_steps.AUTOMATIC_CHECKS.items()
    ],
)
def candidate(
    context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource, config: RetrainConfig
) -> Events:
    """A model trained on all that is known, with the evidence beside the champion's; it waits for a person's signature.

    `page` is the evidence, to be read in a browser; the check `signed_off` says for whom it waits, and how to decide.

    If it fails: nobody asked for a retrain (monitoring does; a person presses *Open launchpad* in the menu beside
    Materialize, and gives `reason` and `asked_by`), or a session before the newest is not in the store. A failed check
    of it means that nobody is asked to sign.
    """
    started = clock.now()
    yield from record(
        context,
        project,
        clock,
        lambda opened, now: [retrain_steps.make_candidate(opened, config.reason, config.asked_by, now)],
    )
    request = gate_steps.gate_state(project.open(clock.now())).open_request
    # An older one may still be open where this candidate was blocked.
    if request and request.at >= started.replace(microsecond=0):
        context.instance.add_run_tags(context.run.run_id, {"countersign/request": request.id})


class SignOffConfig(dg.Config):
    """What `countersign sign --print-config` prints: launching this without a valid signature changes nothing."""

    statement: str
    """The statement, as JSON, word for word as it was signed."""
    signature: str
    """The armored SSH signature on it."""


@dg.asset(group_name=_GROUP, owners=["team:risk"], kinds={"openssh"}, code_version=code_version(), deps=[candidate])
def sign_off(
    context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource, config: SignOffConfig
) -> Events:
    """A person's signed decision on the candidate, put on record. `countersign approve` does the same in a shell.

    Press Materialize: the launchpad opens. Paste what `countersign sign --print-config` prints over what stands in it,
    and press Materialize there. Within half a minute the checks `signed_off` of `candidate` and `ratified` of `model`
    say what came of it.

    If it fails: the signature is none of a person in `config/allowed_signers`, or the request was closed, superseded or
    expired; the message says which. Every refused attempt stands in the journal.
    """
    yield from record(
        context,
        project,
        clock,
        lambda opened, now: [gate_steps.decided(opened, config.statement, config.signature, now)],
    )


@dg.asset_check(
    asset=candidate,
    additional_deps=[sign_off, model],  # in a run with one of them it speaks of what came of it
    description=(
        "The newest candidate has been decided on. To decide: read the file that `page` names in the metadata of this "
        "asset; then `countersign approve` or `reject` in a shell, or press Materialize in "
        "[sign_off_job](/locations/countersign/jobs/sign_off_job) and paste what `countersign sign --print-config` "
        "prints."
    ),
)
def signed_off(project: ProjectResource, clock: ClockResource) -> dg.AssetCheckResult:
    """Says since when a candidate waits, for whom, on what evidence, and the command to run."""
    now = clock.now()
    return check_result("candidate", [(None, gate_steps.signed_off(project.open(now), now))])


@dg.asset_check(
    asset=model,
    additional_deps=[sign_off],
    description=(
        "The model in service has all the signatures that it takes. One that a single signer deployed by break-glass "
        "fails this until a second one signs (`countersign ratify`), or until that model has left."
    ),
)
def ratified(project: ProjectResource, clock: ClockResource) -> dg.AssetCheckResult:
    """Says who broke the glass, and the command for the second signer."""
    return check_result("model", [(None, gate_steps.ratified(project.open(clock.now())))])
