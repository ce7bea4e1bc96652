"""The HTTP endpoint: OpenAI's completions and chat completions over one model.

    GET  /health                    whether the model still answers; needs no key
    GET  /v1/models                 the one model that there is
    POST /v1/completions            texts continued
    POST /v1/chat/completions       conversations continued

Answers come whole, or as server-sent events (html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from foundry import __version__
from foundry.decode.decoder import Event
from foundry.serve import wanted
from foundry.serve.batching import Stopped
from foundry.serve.errors import Refused, error_body, from_validation, respond
from foundry.serve.limits import Gate
from foundry.serve.replies import Reply, Usage
from foundry.serve.schema import Chat, Completion
from foundry.serve.served import Served

LINE_ENDS = {
    ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"
}  # where many a client cuts lines, against the rules
GONE = 499  # what nginx calls a client that left; nobody sees it


def create_app(served: Served, *, key: str | None = None, hosts: tuple[str, ...] = ()) -> FastAPI:
    """The application. key: what clients must present, or None. hosts: names that it answers to, () for any."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        served.batcher.start()
        yield
        await run_in_threadpool(served.batcher.stop)

    _ = served.created  # while the folder is there for certain
    app = FastAPI(title="foundry serve", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Gate, limits=served.limits, key=key, hosts=hosts)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)

    @app.get("/health")
    async def health() -> JSONResponse:
        alive = served.batcher.alive
        return JSONResponse({"status": "ok" if alive else "stopped"}, 200 if alive else 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_described(served)]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        _known(served, name)
        return _described(served)

    @app.post("/v1/completions")
    async def completions(body: Completion, request: Request) -> Response:
        return await answer(served, body, request)

    @app.post("/v1/chat/completions")
    async def chat_completions(body: Chat, request: Request) -> Response:
        return await answer(served, body, request)

    return app


async def answer(served: Served, body: Chat | Completion, request: Request) -> Response:
    """The answer to a request, whole or in events. What is wrong with a request is known before the answer begins."""
    _known(served, body.model)
    sequences = await run_in_threadpool(wanted.wanted, body, served)
    reply = Reply(isinstance(body, Chat), served.name, served.checkpoint.tokenizer, body.likely is not None)
    prompt_tokens = sum(len(sequence.prompt) for sequence in sequences[:: body.n])
    if body.stream:
        told = body.stream_options is not None and body.stream_options.include_usage
        events = streamed(served, sequences, reply, prompt_tokens, told)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    return await unless_gone(request, whole(served, sequences, reply, prompt_tokens))


async def whole(served: Served, sequences: Sequence[wanted.Continuation], reply: Reply, prompt_tokens: int) -> Response:
    """The answer in one piece."""
    made: list[list[Event]] = [[] for _ in sequences]
    try:
        async with aclosing(continued(served, sequences)) as events:
            async for index, event in events:
                made[index].append(event)
    except Exception as error:
        raise _as_refused(error, served) from error
    return JSONResponse(reply.whole(made, Usage(prompt_tokens, sum(_tokens(events) for events in made))))


async def streamed(
    served: Served, sequences: Sequence[wanted.Continuation], reply: Reply, prompt_tokens: int, tell_usage: bool
) -> AsyncIterator[str]:
    """The answer as server-sent events, one for each new piece of text. An error midway is the last of them."""
    made = 0
    try:
        if reply.chat:
            for index in range(len(sequences)):
                yield sent(reply.opening(index))
        async with aclosing(continued(served, sequences)) as events:
            async for index, event in events:
                made += _tokens([event])
                if event.text or event.finish or reply.likely:
                    yield sent(reply.piece(index, event))
        if tell_usage:
            yield sent(reply.closing(Usage(prompt_tokens, made)))
        yield "data: [DONE]\n\n"
    except Exception as error:
        refused = _as_refused(error, served)
        yield sent(error_body(refused.status_code, refused.detail, refused.param, refused.code))


async def continued(
    served: Served, sequences: Sequence[wanted.Continuation]
) -> AsyncGenerator[tuple[int, Event], None]:
    """Every new token of every sequence, with the number of its sequence. To close it is to drop them.

    Raises:
        TimeoutError: the request took longer than it may. Stopped: the server ends. Whatever decoding raises.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[int, Event | Exception]] = asyncio.Queue()
    deadline = loop.time() + served.limits.seconds

    def listen(index: int, news: Event | Exception) -> None:
        with suppress(RuntimeError):  # the loop may have ended by now
            loop.call_soon_threadsafe(queue.put_nowait, (index, news))

    numbers: list[int] = []
    try:
        for index, sequence in enumerate(sequences):
            numbers.append(served.batcher.ask(sequence.prompt, sequence.sampling, partial(listen, index)))
        left = len(sequences)
        while left:
            async with asyncio.timeout_at(deadline):
                index, news = await queue.get()
            if isinstance(news, Exception):
                raise news
            left -= bool(news.finish)
            yield index, news
    finally:
        served.batcher.drop(numbers)


async def unless_gone(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """What the work gives, or nothing where the client leaves before: then it is cancelled."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else Response(status_code=GONE)
    finally:
        working.cancel()
        leaving.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _known(served: Served, name: str) -> None:
    if name != served.name:
        message = f"there is no model of that name here; there is {served.name}"
        raise Refused(404, message, param="model", code="model_not_found")


def _described(served: Served) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": served.created, "owned_by": "foundry"}


def _tokens(events: Sequence[Event]) -> int:
    return sum(event.id is not None for event in events)


def sent(data: dict[str, Any]) -> str:
    """One server-sent event."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text.translate(LINE_ENDS)}\n\n"


def _as_refused(error: Exception, served: Served) -> Refused:
    """An error while decoding, for the client."""
    if isinstance(error, TimeoutError):
        return Refused(504, f"the answer took longer than {served.limits.seconds:g} s", code="timeout")
    if isinstance(error, Stopped):
        return Refused(503, str(error), code="stopped")
    if isinstance(error, ValueError):  # logits that are not finite, a grammar that gave up
        return Refused(500, str(error))
    return Refused(500, f"decoding failed: {type(error).__name__}")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return respond(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return respond(from_validation(error))


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse(error_body(500, "the server failed; its log has more"), 500)
