"""What an operator's tools ask: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from rag.errors import YoujuError
from ui import schemas
from ui.metrics import CONTENT_TYPE
from ui.service import Service
from ui.stopping import STOPPING, Stopping


def operation(service: Service, stopping: Stopping) -> APIRouter:
    """The routes, which never wait behind answers for a thread."""
    router = APIRouter(tags=["operation"])
    own = CapacityLimiter(2)

    @router.get("/healthz", summary="活着 Alive", responses={200: {"model": schemas.Alive}})
    async def healthz() -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    @router.get(
        "/readyz",
        summary="能回答 Ready",
        responses={200: {"model": schemas.Ready}, 503: {"model": schemas.Unavailable}},
    )
    async def readyz() -> Response:
        """The knowledge base can be read, and the server goes on."""
        if stopping.asked:
            return JSONResponse({"status": "stopping", "reason": STOPPING}, status_code=503)
        try:
            documents = await to_thread.run_sync(service.store.documents, limiter=own)
        except YoujuError as error:
            return JSONResponse({"status": "unavailable", "reason": error.problem}, status_code=503)
        return JSONResponse(
            {
                "status": "ready",
                "documents": len(documents),
                "articles": sum(document.articles for document in documents),
            }
        )

    @router.get("/metrics", summary="计数 Metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters in Prometheus's text format."""
        text = await to_thread.run_sync(service.metrics.text, service.store, limiter=own)
        return Response(text, media_type=CONTENT_TYPE)

    return router
