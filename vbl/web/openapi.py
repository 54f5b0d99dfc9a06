"""The OpenAPI document of the API, made from the table of its endpoints and from their models. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vbl.web.asked import Nothing
from vbl.web.models import Error

_FAULTS = {
    "400": "The request is wrong.",
    "401": "Who asks is not known.",
    "403": "Not from here, not by this person, or the server only shows.",
    "404": "There is no such thing.",
    "409": "The history refuses it.",
    "422": "The values do not fit.",
    "503": "The file cannot be used now.",
}


@dataclass(frozen=True, slots=True)
class Described:
    """An endpoint, as the document tells of it. `path` has its parameters in braces; `status` is that of success."""

    method: str
    path: str
    name: str
    summary: str
    answer: type[BaseModel]
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    status: int = 200


def document(endpoints: Iterable[Described], version: str, server: str) -> dict[str, Any]:
    """The whole document; `server` is the path under which the endpoints are."""
    listed = list(endpoints)
    models = sorted({m for e in listed for m in (e.answer, e.body, Error) if m is not None}, key=lambda m: m.__name__)
    refs, defined = models_json_schema([(m, "validation") for m in models], ref_template="#/components/schemas/{model}")
    named = {model: refs[model, "validation"] for model in models}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in listed:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": "vbl", "version": version, "description": "The runs of one file. See docs/inspecting.md."},
        "servers": [{"url": server}],
        "security": [{"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": defined.get("$defs", {}),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of `vbl ui --token`."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "vbl-…",
                    "description": "A session of the page; changes need its token in X-CSRF-Token.",
                },
            },
        },
    }


def _operation(endpoint: Described, named: dict[type[BaseModel], Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(endpoint.status): {"description": "Done.", "content": _content(named[endpoint.answer])}
    }
    for status, words in _FAULTS.items():
        answers[status] = {"description": words, "content": _content(named[Error])}
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [*_in_path(endpoint.path), *_in_query(endpoint.query)],
        "responses": answers,
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(named[endpoint.body])}
    return operation


def _content(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _in_path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _in_query(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties: dict[str, Any] = model.model_json_schema().get("properties", {})
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]
