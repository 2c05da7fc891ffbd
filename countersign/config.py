"""Configuration: ``config/pipeline.yaml``, validated.

Belongs here: every setting, its type, bounds and meaning. Does not belong here: reading YAML
(``settings``); the environment, which ``definitions`` reads.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from countersign.features import FEATURES
from countersign.gate.state import LONGEST_OPEN
from countersign.prices.sources.cells import MAX_BARS, DateOrder, Decimal
from countersign.prices.sources.shapes import PROFILE_NAMES
from countersign.settings import Section, read_settings

Adjustment = Literal["raw", "splits", "full", "both"]
"""What has been done to the prices of a source. ``raw``: as quoted. ``splits``: adjusted for splits. ``full``: for
splits and dividends. ``both``: as quoted, and an ``adj_close`` beside that is adjusted for both.
"""
ColumnName = Literal["date", "symbol", "open", "high", "low", "close", "adj_close", "volume"]


def _known_profile(profile: str) -> str:
    if profile not in ("auto", *PROFILE_NAMES):
        raise ValueError(f"source.profile: expected auto or one of {', '.join(PROFILE_NAMES)} (value {profile!r})")
    return profile


ProfileName = Annotated[str, AfterValidator(_known_profile)]
MaxBars = Annotated[int, Field(ge=1)]


class SourceSection(Section):
    """What every kind of source is asked. Symbols are read in one form, in which ``symbols`` names them, too: trimmed,
    in capitals, ``/``, ``-`` and ``_`` as a point, without ``.US`` at the end (``brk-b.us``: ``BRK.B``).
    """

    adjustment: Adjustment = "both"
    """On record with every session; another one than the stored sessions have is refused."""
    live: bool = False
    """Whether the source gets a new session every day; the schedule runs only then."""


class FileSourceConfig(SourceSection):
    """Bars from files."""

    kind: Literal["files"] = "files"
    path: Annotated[str, Field(repr=False)]
    """A file, a folder or a glob of them, from the project folder, or an fsspec URL; CSV, JSON, NDJSON or Parquet, and
    gzip or zip of these.
    """
    profile: ProfileName = "auto"
    """How the supplier lays out bars; recognised where it is ``auto``."""
    symbol: str = ""
    """Of all rows, where no column names it; the file's name where this is empty."""
    rename: dict[str, ColumnName] = Field(default_factory=dict)
    """Names of columns, and what they are here."""
    dates: DateOrder = "auto"
    """Whether the day or the month comes first in dates such as 01/02/2019."""
    decimal: Decimal = ""
    """A comma or a point, where numbers have decimal commas or thousands that are set apart."""
    max_bars: MaxBars = MAX_BARS
    """In one reply, of the history in particular; a million more take about 250 MB while they are read."""


_HTTP_URL: Final = r"https?://[^/?#@\s{}]+([/?][!-~]*)?"


def _plain_url(url: Any) -> Any:
    """Messages never quote it: whatever stands in a URL that is wrong may be a key."""
    try:
        # Raises where brackets or the port are none.
        is_url = isinstance(url, str) and re.fullmatch(_HTTP_URL, url) and urlsplit(url).port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError(
            "source.url: expected http(s)://host/… without a user, spaces and placeholders in the host; keys go into "
            "headers, or into the query, as ${NAME} of the environment"
        )
    wrong = sorted(set(re.findall(r"(?<!\$)\{[^{}]*\}?", url)) - {"{session}", "{start}", "{end}", "{symbol}"})
    if wrong:
        raise ValueError("source.url: expected only the placeholders {session}, {start}, {end}, {symbol}, ${NAME}")
    return url


def _plain_headers(headers: Any) -> Any:
    """As of the URL: not even a value of the wrong type is quoted."""
    texts = headers.values() if isinstance(headers, dict) else [None]
    if not all(isinstance(text, str) and re.fullmatch(r"[ -~]*", text) for text in texts):
        raise ValueError("source.headers: expected names with values, such as Authorization: Bearer ${NAME}")
    ours = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
    if any(not re.fullmatch(r"[A-Za-z0-9-]+", name) or name.lower() in ours for name in headers):
        raise ValueError(f"source.headers: expected names of headers other than {', '.join(sorted(ours))}")
    return headers


class HttpSourceConfig(SourceSection):
    """Bars from a service."""

    kind: Literal["http"]
    url: Annotated[str, BeforeValidator(_plain_url), Field(repr=False)]
    """{start}, {end}: first and last day, YYYY-MM-DD. {symbol}, {session}: a request for each. ${NAME}: a variable of
    the environment.
    """
    headers: Annotated[dict[str, str], BeforeValidator(_plain_headers), Field(repr=False)] = Field(default_factory=dict)
    """Sent to the host of ``url`` alone, also where it redirects or names a further page elsewhere."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts that may have a private or loopback address."""
    spelling: dict[str, str] = Field(default_factory=dict)
    """Of symbols that the service spells otherwise: {BRK.B: BRK-B}."""
    profile: ProfileName = "auto"
    """How the supplier lays out bars; recognised where it is ``auto``."""
    rename: dict[str, ColumnName] = Field(default_factory=dict)
    """Names of columns, and what they are here."""
    dates: DateOrder = "auto"
    """Whether the day or the month comes first in dates such as 01/02/2019."""
    decimal: Decimal = ""
    """A comma or a point, where numbers have decimal commas or thousands that are set apart."""
    max_bars: MaxBars = MAX_BARS
    """In all replies of one read, of the history in particular."""


class SqlSourceConfig(SourceSection):
    """Bars from a database."""

    kind: Literal["sql"]
    url: Annotated[str, Field(repr=False)]
    """Of SQLAlchemy; ${NAME}: a variable of the environment. A path of SQLite is one from the project folder."""
    query: str
    """With :start and :end, first and last day; its columns have the usual names, or those of ``rename``."""
    rename: dict[str, ColumnName] = Field(default_factory=dict)
    """Names of columns, and what they are here."""
    max_bars: MaxBars = MAX_BARS
    """In one reply, of the history in particular."""

    @field_validator("url", mode="before")
    @classmethod
    def _is_url(cls, url: Any) -> Any:
        if not isinstance(url, str) or not re.fullmatch(r"[a-z]\w*(\+\w+)?://[!-~]*|\$\{\w+\}", url):
            raise ValueError(
                "source.url: expected a URL of SQLAlchemy, such as postgresql+psycopg://user:${NAME}@host/database"
            )
        return url

    @field_validator("query")
    @classmethod
    def _has_bounds(cls, query: str) -> str:
        if not all(re.search(rf"(?<![:\w\\]):{name}\b", query) for name in ("start", "end")):
            raise ValueError("source.query: expected :start and :end, between which the dates of its bars lie")
        return query


class YahooSourceConfig(SourceSection):
    """Bars from Yahoo Finance."""

    kind: Literal["yfinance"]
    adjustment: Literal["both"] = "both"
    """Prices are asked for as quoted, adjusted for splits, and an adjusted close beside."""
    spelling: dict[str, str] = Field(default_factory=dict)
    """Of symbols that Yahoo spells otherwise: {BRK.B: BRK-B}."""


class OwnSourceConfig(SourceSection):
    """Bars from a class that a user wrote."""

    kind: Literal["own"]
    object: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
    """``module:Class``; the module lies in the project folder or is installed."""
    options: Annotated[dict[str, Any], Field(repr=False)] = Field(default_factory=dict)
    """What the class is made with, all values as text."""


def _with_kind(found: Any) -> Any:
    return {"kind": "files", **found} if isinstance(found, dict) else found


SourceConfig = Annotated[
    FileSourceConfig | HttpSourceConfig | SqlSourceConfig | YahooSourceConfig | OwnSourceConfig,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]
"""Where bars come from: one section of settings for each ``kind``, ``files`` where none is named."""


class HistoryConfig(Section):
    """What is loaded in bulk, before the first daily session."""

    start: date
    """First date of the history."""


SHORTEST_WINDOW: Final = 126
"""Sessions of the shortest window that a model is trained on: half a year, of which features take a quarter."""


def _window(found: Any) -> Any:
    if found == "all":
        return found
    if re.fullmatch(r"[0-9]{1,6}", str(found)) and int(found) >= SHORTEST_WINDOW:
        return int(found)
    raise PydanticCustomError("window", f"expected all, or a number of sessions from {SHORTEST_WINDOW} on")


def _known_feature(name: str) -> str:
    if name not in FEATURES:
        raise PydanticCustomError("feature", f"expected one of {', '.join(FEATURES)}")
    return name


def _some_left(off: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(off)) < len(off):
        raise PydanticCustomError("features", "expected each feature once")
    if len(off) == len(FEATURES):
        raise PydanticCustomError("features", "expected at least one feature to stay on")
    return off


Penalty = Annotated[float, Field(gt=0)]
Cutoff = Annotated[float, Field(gt=0, lt=1)]
Window = Annotated[int | Literal["all"], BeforeValidator(_window)]
FeaturesOff = Annotated[tuple[Annotated[str, AfterValidator(_known_feature)], ...], AfterValidator(_some_left)]


class ModelConfig(Section):
    """How the model is trained. Changing a number here changes the next model, never the one in service."""

    ridge_penalty: Penalty = 10.0
    logistic_penalty: Penalty = 1.0
    cutoff: Cutoff = 0.20
    """Bad-week probability from which a symbol is held."""
    window_sessions: Window = "all"
    """Sessions that are learned from, up to the newest whose outcome is known; ``all``: every one of the history."""
    features_off: FeaturesOff = ()
    """Features that the model does not weigh. They are still computed and watched, and outside the range that training
    saw the baseline scores: so a model with one off is scored, compared and rolled back like any other.
    """
    min_training_sessions: Annotated[int, Field(ge=126)] = 756
    """Sessions before the first fold of the walk-forward evaluation (756: three years)."""
    fold_sessions: Annotated[int, Field(ge=21)] = 63
    """Sessions scored by one fold's model before the next is trained."""
    bootstrap_replications: Annotated[int, Field(ge=100)] = 500
    bootstrap_block_sessions: Annotated[int, Field(ge=5)] = 21
    """Sessions that the bootstrap keeps together; at least the horizon, since neighbouring outcomes overlap."""
    seed: int = 20080902


class ArtifactConfig(Section):
    """Where artifacts lie."""

    root: str = "artifacts"
    """A folder (from the project folder) or an fsspec URL."""
    format: Literal["json", "parquet"] = "json"
    """Of tables by session. Parquet takes a quarter of the room, and as long to read from about 5,000 symbols on."""

    @field_validator("root")
    @classmethod
    def _holds_no_secret(cls, root: str) -> str:
        # The root is shown wherever an artifact is, so what it holds is no secret.
        if "@" in urlsplit(root).netloc:
            raise ValueError("artifacts.root: expected a URL without user or password; set these in the environment")
        return root


class ScheduleConfig(Section):
    """When the daily run starts."""

    time: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "18:00"
    """HH:MM in the exchange's time zone, some time after the close."""


class GateConfig(Section):
    """How a model gets into service. Who may sign stands in ``config/allowed_signers``."""

    bootstrap: Literal["auto", "manual"] = "auto"
    """Whether the first model is deployed without a signature, on record as such, or waits for one as the others do."""
    quorum: Annotated[int, Field(ge=1, le=10)] = 1
    """Distinct signers that an approval takes."""
    expiry_days: Annotated[int, Field(ge=1, le=LONGEST_OPEN.days)] = 7
    """After which a request that is not deployed never will be."""
    reminder_hours: Annotated[int, Field(ge=1, le=720)] = 24
    """Between two reminders of a request that waits."""
    cool_down_days: Annotated[int, Field(ge=0, le=365)] = 30
    """After a retrain or a deployment, in which monitoring asks for no other; people can."""
    on_revoke: Literal["stop", "rollback"] = "stop"
    """Whether nothing is scored once the model in service is revoked, or the one before comes back."""


class PushConfig(Section):
    """Where the metrics of each daily run are sent, for those who watch elsewhere. Nowhere where empty."""

    gateway: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    """URL of a Prometheus push gateway, without user or password."""
    textfile: Annotated[str, Field(pattern=r"^(.+\.prom)?$")] = ""
    """A file in the folder of node_exporter's text-file collector; a path from the project folder."""

    @field_validator("gateway")
    @classmethod
    def _holds_no_secret(cls, gateway: str) -> str:
        parts = urlsplit(gateway)
        if "@" in parts.netloc:
            raise ValueError("push.gateway: expected a URL without user or password: it is shown in error messages")
        try:
            # Raises where the port is none.
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"push.gateway: expected http://host:port, found another form: {error}") from error
        return gateway


class PipelineConfig(Section):
    """All of ``config/pipeline.yaml``."""

    calendar: str = "XNYS"
    """Code of exchange_calendars; ``24/7`` for markets that never close."""
    symbols: Annotated[list[str], Field(min_length=1)] | None = None
    """The symbols to score; every symbol of the source where left out."""
    first_session: date
    """First daily session; everything before it is history."""
    last_session: date | None = None
    """Last daily session of a source that gets no new ones."""
    missing_sessions: tuple[date, ...] = ()
    """Sessions that the source will never deliver, accepted by a person; each is a day without a bar."""
    history: HistoryConfig
    source: Annotated[SourceConfig, Field(repr=False)]
    model: ModelConfig = ModelConfig()
    artifacts: ArtifactConfig = ArtifactConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    gate: GateConfig = GateConfig()
    push: PushConfig = PushConfig()
    executor: Literal["in_process", "multiprocess"] = "in_process"
    """How the steps of a run are executed; a process for each step costs seconds a run."""

    @model_validator(mode="after")
    def _symbols_are_named(self) -> PipelineConfig:
        source = self.source
        by_symbol = isinstance(source, HttpSourceConfig) and "{symbol}" in source.url
        if self.symbols is None and (by_symbol or isinstance(source, YahooSourceConfig)):
            raise ValueError(f"symbols: must be set, since source (kind {source.kind}) is asked for each of them")
        return self

    @model_validator(mode="after")
    def _dates_are_in_order(self) -> PipelineConfig:
        if self.history.start >= self.first_session:
            raise ValueError(
                f"history.start must lie before first_session ({self.first_session}) (value {self.history.start})"
            )
        if self.last_session and self.source.live:
            raise ValueError(
                f"last_session must not be set where source.live is true: it has no end (value {self.last_session})"
            )
        if self.last_session and self.last_session < self.first_session:
            raise ValueError(
                f"last_session must not lie before first_session ({self.first_session}) (value {self.last_session})"
            )
        return self


def load_config(home: Path) -> PipelineConfig:
    """``config/pipeline.yaml`` of the project folder ``home``. Raises ``ConfigError`` as ``read_settings`` does."""
    return read_settings(home / "config" / "pipeline.yaml", PipelineConfig)
