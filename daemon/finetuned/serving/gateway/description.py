"""
The OpenAPI document: the routes as FastAPI describes them, and the keys that they need.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from finetuned.core.access import needed_scopes

ABOUT: Final = (
    "The model that this root has in use. Fields that are not listed are refused, not ignored. "
    "Every refusal has OpenAI's shape."
)

_KEYS: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def describe(app: FastAPI) -> None:
    """
    Let *app* make its document so, once, when it is asked for.
    """

    def _once() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = _once  # type: ignore[method-assign]  # FastAPI's way to do it


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
    found["components"]["securitySchemes"] = _KEYS
    found["security"] = [{name: []} for name in _KEYS]
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            if not needed_scopes(method.upper(), path):
                operation["security"] = []
    return found
