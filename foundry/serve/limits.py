"""Who may ask, and how much: API key, host, size of a body, requests at a time. The first thing a request meets."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foundry.serve.errors import Refused, respond

OPEN = ("/health",)  # paths that need no key
BODY_SECONDS = 30.0  # in which a body must have come
SEND_SECONDS = 60.0  # in which a client that has fallen behind must take what it is sent
RETRY_SECONDS = 1  # what a client that was refused is told to wait


@dataclass(frozen=True)
class Limits:
    """context: tokens of a prompt and its answer. body: bytes of a request. requests: at a time; more are told to come
    again. sequences: of one request (prompts times n). rows: sequences that are decoded at a time; more wait.
    seconds: that a request may take."""

    context: int = 2048
    body: int = 1 << 20
    requests: int = 64
    sequences: int = 32
    rows: int = 64
    seconds: float = 600.0


class Unread(Exception):
    """A client does not take its answer."""


class Gate:
    """ASGI middleware that lets a request in or refuses it before its body is read.

    hosts: the names under which the server may be asked, or () for any: a page from elsewhere that makes its own name
    mean 127.0.0.1 (DNS rebinding) is not one of them.
    """

    def __init__(self, app: ASGIApp, limits: Limits, key: str | None, hosts: tuple[str, ...]):
        self.app, self.limits, self.hosts = app, limits, hosts
        self.key = None if key is None else digest(key.encode())
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        counted = scope["method"] == "POST"
        try:
            self.admit(scope, counted)
        except Refused as refused:
            await respond(refused)(scope, receive, send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(message)
            except TimeoutError:
                raise Unread from None

        self.under_way += counted
        try:
            await self.app(scope, bounded(receive, self.limits.body), noted)
        except asyncio.CancelledError:  # the server ends, and waits no longer
            if not begun:
                await respond(Refused(503, "the server ends", code="stopped"))(scope, receive, send)
        except Unread:
            return  # an answer that is not complete closes the connection
        finally:
            self.under_way -= counted

    def admit(self, scope: Scope, counted: bool) -> None:
        """Raise Refused unless the request may come in."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self.hosts and hostname(headers.get(b"host", b"")) not in self.hosts:
            message = (
                f"this server answers to {', '.join(self.hosts)} only; give it an API key to ask it by other names"
            )
            raise Refused(403, message, code="unknown_host")
        if self.key is not None and scope["path"] not in OPEN:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(digest(given.strip()), self.key):
                message = "a wrong API key" if given else "an API key is needed: Authorization: Bearer KEY"
                raise Refused(401, message, code="invalid_api_key", WWW_Authenticate="Bearer")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.limits.body:
            raise too_large(self.limits.body)
        if counted and self.under_way >= self.limits.requests:
            message = f"{self.limits.requests} requests are under way, which is all this server takes at a time"
            raise Refused(429, message, code="too_many_requests", Retry_After=str(RETRY_SECONDS))


def digest(key: bytes) -> bytes:
    """What is compared in place of a key, so that the time it takes says nothing of its length either."""
    return hashlib.sha256(key).digest()


def hostname(header: bytes) -> str:
    """The host of a Host header, without its port and in lower case."""
    host = header.decode("latin-1").lower()
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def bounded(receive: Receive, most: int) -> Receive:
    """`receive`, except that a body which is too large or too slow ends the request."""
    size, whole = 0, False
    deadline: float | None = None  # from when the body is asked for

    async def receive_bounded() -> Message:
        nonlocal size, whole, deadline
        if whole:
            return await receive()
        deadline = deadline or asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                message: dict[str, Any] = dict(await receive())
        except TimeoutError:
            raise Refused(408, f"the body did not come within {BODY_SECONDS:.0f} s", Connection="close") from None
        size += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if size > most:
            raise too_large(most)
        return message

    return receive_bounded


def too_large(most: int) -> Refused:
    return Refused(413, f"the body is larger than {most:,} bytes", code="body_too_large", Connection="close")
