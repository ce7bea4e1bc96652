"""What slow clients, and names that are not the server's, may not do."""

import asyncio

import pytest

from foundry.serve import limits
from foundry.serve.errors import Refused
from foundry.serve.limits import Gate, Limits, bounded
from foundry.serve.server import listen, names

SCOPE = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}


def test_a_body_that_comes_in_drops_is_given_up(monkeypatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)

    async def drop():
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read():
        receive = bounded(drop, 1 << 20)
        for _ in range(100_000):
            await receive()

    with pytest.raises(Refused) as caught:
        asyncio.run(read())
    assert caught.value.status_code == 408


def test_a_client_that_takes_no_answer_holds_no_place(monkeypatch):
    monkeypatch.setattr(limits, "SEND_SECONDS", 0.01)

    async def app(scope, receive, send):
        assert gate.under_way == 1
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def never(message):
        await asyncio.Event().wait()

    async def ask():
        async with asyncio.timeout(60):
            await gate(SCOPE, None, never)

    gate = Gate(app, Limits(), None, ())
    asyncio.run(ask())
    assert gate.under_way == 0


def test_a_server_on_loopback_answers_to_its_name_and_to_its_address():
    with listen("127.0.0.1", 0) as opened:
        assert set(names(opened, "MyBox")) == {"127.0.0.1", "localhost", "[::1]", "mybox"}
    with listen("127.0.0.2", 0) as opened:  # as a machine's own name often is
        assert {"mybox", "127.0.0.2"} < set(names(opened, "MyBox"))
