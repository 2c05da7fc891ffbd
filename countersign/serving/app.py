"""App: the routes, and the description of them at ``/openapi.json`` and ``/docs``.

Belongs here: what each route answers. Does not belong here: who may ask and what is noted (``front``), predicting.
Every route here takes a token where there is one: ``front`` lets nothing through but ``/healthz``.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path as File
from typing import Annotated, Any, Final

import orjson
from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from countersign.prices.rules import SYMBOL_LENGTH
from countersign.serving import metrics
from countersign.serving.answers import Predictions, SessionScores
from countersign.serving.front import PREDICT, Serving
from countersign.serving.predictor import Served, stored_page, stored_scores
from countersign.serving.problems import MEDIA_TYPE, Problem, unprocessable_fields
from countersign.serving.requests import Predict, examples
from countersign.version import code_version

_JSON: Final = "application/json"
_REF: Final = "#/components/schemas/{model}"
_PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457. `errors` names each field that is wrong.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
_DOCS_POLICY: Final = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
_DOCS_FILES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "start.js": "text/javascript",
}
_START: Final = b'SwaggerUIBundle({url: "/openapi.json", dom_id: "#docs", validatorUrl: null});\n'
_DOCS: Final = (
    b'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Countersign</title>'
    b'<link rel="stylesheet" href="/docs/swagger-ui.css"></head><body><div id="docs"></div>'
    b'<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>\n'
)

Session = Annotated[
    str,
    Path(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$", description="A session"),
]
Symbol = Annotated[str, Path(min_length=1, max_length=SYMBOL_LENGTH, description="A symbol")]


_Responses = dict[int | str, dict[str, Any]]


def _described(description: str, schema: dict[str, Any] | None = None, kind: str = _JSON) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema or {"type": "object"}}}}


def _problems(*statuses: int) -> _Responses:
    ref = {"$ref": _REF.format(model="Problem")}
    return {status: _described(HTTPStatus(status).phrase, ref, MEDIA_TYPE) for status in statuses}


def _ref(model: str) -> dict[str, Any]:
    return {"$ref": _REF.format(model=model)}


def build_app(serving: Serving) -> FastAPI:
    """The routes over ``serving``."""
    app = FastAPI(
        title="Countersign",
        version=code_version(),
        description="Volatility and bad-week risk of the next five sessions, by the model that people signed for.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    every = _problems(401, 421, 503)

    def json(body: bytes) -> Response:
        return Response(body, media_type=_JSON)

    @app.post(
        PREDICT,
        tags=["predictions"],
        summary="Predict one row, or up to 10,000",
        responses={200: _described("In the order of the request", _ref("Predictions"))}
        | every
        | _problems(400, 408, 413, 415, 422, 500),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    _JSON: {"schema": _ref("Predict")},
                },
            }
        },
    )
    async def predict(request: Request) -> Response:
        answer = await serving.predict(dict(request.scope["headers"]), await request.body())
        return json(answer.body)

    @app.get(
        "/scores/{session}",
        tags=["stored"],
        summary="The stored scores of a session",
        responses={200: _described("By symbol", _ref("SessionScores"))} | every | _problems(404, 422, 500),
    )
    async def scores(session: Session) -> Response:
        return json((await serving.aside(lambda: stored_scores(serving.project, session))).body)

    @app.get(
        "/scores/{session}/{symbol}",
        tags=["stored"],
        summary="The stored score of a symbol",
        responses={200: _described("One row", _ref("SessionScores"))} | every | _problems(404, 422, 500),
    )
    async def score(session: Session, symbol: Symbol) -> Response:
        return json((await serving.aside(lambda: stored_scores(serving.project, session, symbol))).body)

    @app.get("/model", tags=["model"], summary="The champion's card and standing", responses={**every})
    async def model() -> Response:
        return json(serving.served().card)

    @app.get(
        "/reports/{session}",
        tags=["stored"],
        summary="The report of a session",
        response_class=Response,
        responses=_Responses({200: _described("A page", {"type": "string"}, "text/html")})
        | every
        | _problems(404, 422),
    )
    async def report(session: Session) -> Response:
        page = await serving.aside(lambda: stored_page(serving.project, session))
        return Response(page, media_type="text/html", headers={"content-security-policy": _PAGE_POLICY})

    @app.get("/healthz", tags=["operation"], summary="The server is alive; needs no token", responses=_problems(421))
    async def healthz() -> Response:
        return json(b'{"status":"alive"}')

    @app.get("/readyz", tags=["operation"], summary="The champion is verified and served", responses={**every})
    async def readyz() -> Response:
        served, trouble = serving.watch.served, serving.watch.trouble or serving.access.trouble
        if trouble or served is None:
            kept = f"; {served.model[:12]} is served on" if served else "; no model is served"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, trouble + kept)
        found = {"status": "ready", "model": served.model, "newest_session": served.newest}
        return json(orjson.dumps({key: value for key, value in found.items() if value}))

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="In Prometheus' form",
        response_class=Response,
        responses=_Responses({200: _described("Samples", {"type": "string"}, "text/plain")}) | every,
    )
    async def prometheus() -> Response:
        return Response(serving.metrics.text(serving.watch, serving.log), media_type=metrics.MEDIA_TYPE)

    @app.get("/openapi.json", tags=["description"], summary="This description", responses={**every})
    async def openapi() -> Response:
        return json(orjson.dumps(_with_examples(app.openapi(), serving.watch.served)))

    @app.get(
        "/docs",
        tags=["description"],
        summary="This description, to read and try",
        response_class=Response,
        responses=_Responses({200: _described("A page", {"type": "string"}, "text/html")}) | every,
    )
    async def docs() -> Response:
        return Response(_DOCS, media_type="text/html", headers={"content-security-policy": _DOCS_POLICY})

    @app.get("/docs/{name}", include_in_schema=False)
    async def docs_file(name: str) -> Response:
        # Swagger UI itself, of the version that reads OpenAPI 3.1; nothing else of the package is used.
        import fastapi_offline

        if name not in _DOCS_FILES:
            raise Problem(HTTPStatus.NOT_FOUND, "expected a file of /docs")
        body = _START if name == "start.js" else (File(fastapi_offline.__file__).parent / "static" / name).read_bytes()
        return Response(body, media_type=_DOCS_FILES[name])

    _answer_problems(app, serving)
    _describe(app)
    return app


def _with_examples(description: dict[str, Any], served: Served | None) -> dict[str, Any]:
    """``description`` with examples of the newest session, so that they can be tried as they stand."""
    kept = served.sessions.get(served.newest) if served else None
    if served and kept and kept.rows:
        body = description["paths"][PREDICT]["post"]["requestBody"]["content"][_JSON]
        shown = examples([*kept.rows], served.newest)
        body["examples"] = {name: {"value": value} for name, value in shown.items()}
        known = {"session": served.newest, "symbol": next(iter(kept.rows))}
        for methods in description["paths"].values():
            for operation in methods.values():
                for parameter in operation.get("parameters", ()):
                    if parameter["name"] in known:
                        parameter["example"] = known[parameter["name"]]
    return description


def _answer_problems(app: FastAPI, serving: Serving) -> None:
    def respond(problem: Problem) -> Response:
        return Response(problem.body, int(problem.status), media_type=MEDIA_TYPE, headers=dict(problem.headers))

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        serving.say_cause(error)
        return respond(error)

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        detail = {404: "there is no such route", 405: "this route takes another method"}.get(status, status.phrase)
        return respond(Problem(status, f"{detail}: see /openapi.json", headers=error.headers))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [(".".join(str(part) for part in one["loc"][1:]), one["msg"]) for one in error.errors()]
        return respond(unprocessable_fields(found))

    app.add_exception_handler(Problem, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _describe(app: FastAPI) -> None:
    """Put the schemas of requests and answers into the description, and that a token is asked for."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = plain()
            _, schemas = models_json_schema(
                [(Predict, "validation"), (Predictions, "serialization"), (SessionScores, "serialization")],
                ref_template=_REF,
            )
            parts = found.setdefault("components", {})
            parts["schemas"] = schemas["$defs"] | {"Problem": _PROBLEM}
            parts["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic", "description": "The token; the user's name may be any"},
            }
            for path, methods in found["paths"].items():
                for operation in methods.values():
                    operation["security"] = [{}] if path == "/healthz" else [{"token": []}, {"password": []}, {}]
                    # FastAPI describes its own form of this answer wherever a path has parameters.
                    if "422" in operation["responses"]:
                        operation["responses"]["422"] = _problems(422)[422]
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
