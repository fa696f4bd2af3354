"""
The application: the routes of one Service and its live page, and how they refuse.

Lets everybody in: guard.py stands around it. Does not listen (serve.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from finetuned import __version__
from finetuned.serving.gateway import health, routes_documents, routes_openai
from finetuned.serving.gateway.description import describe
from finetuned.serving.gateway.errors import SERVER_ERROR, Refusal, invalid_body
from finetuned.serving.gateway.exchange import CLIENT_GONE, ClientGone
from finetuned.serving.gateway.page import LivePage
from finetuned.serving.gateway.service import Service

log = structlog.get_logger()


def build_app(service: Service, page: LivePage) -> FastAPI:
    """
    Return the application; its lifespan starts and ends the engine.

    Args:
        service: Not started; the application starts and ends it.
        page: The live page; likewise closed with the application.
    """
    app = FastAPI(
        title="finetuned",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(service, page),
    )
    describe(app)
    app.router.redirect_slashes = False  # its answer would send clients to whatever Host they named
    app.state.service = service
    app.state.page = page
    app.router.routes.extend(page.routes())
    for router in (routes_openai.router, health.router, routes_documents.router):
        app.include_router(router)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(ClientGone, _gone)
    app.add_exception_handler(Exception, _bug)
    return app


def _lifespan(
    service: Service, page: LivePage
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.close()
            page.close()

    return running


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101
    return error.response()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return invalid_body(error.errors()).response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    path = f"{request.method} {request.url.path[:200]}"
    reasons = {
        404: f"{path}: there is no such route; GET /openapi.json lists those that are",
        405: f"{path}: the route takes another method, see the Allow header",
    }
    message = reasons.get(error.status_code, f"{path}: {error.detail}")
    code = "no_such_route"
    if error.status_code == 400:  # FastAPI gives no more details of bytes that are not UTF-8
        message, code = (
            f"{path}: the body is not JSON in UTF-8, or nested too deeply",
            "invalid_json",
        )
    return Refusal(error.status_code, message, code=code, headers=error.headers).response()


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _bug(request: Request, error: Exception) -> Response:
    log.error("request_crashed", path=request.url.path, exc_info=error)
    message = "a bug in the service; its log has the details"
    return Refusal(500, message, kind=SERVER_ERROR, code="internal_error").response()
