"""What a client is told when it does not get what it asked for, in the shape of OpenAI's errors.

platform.openai.com/docs/guides/error-codes: {"error": {"message", "type", "param", "code"}}, here always one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
LONGEST = 500  # characters of a message


class Refused(HTTPException):
    """A request that is answered with an error. param: the field that is wrong. code: for programs."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, **headers: str):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(status, message, named or None)
        self.param, self.code = param, code


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    param = None if param is None else clean(param)
    return {"error": {"message": clean(message), "type": kind, "param": param, "code": code}}


def clean(text: str) -> str:
    """A text that may have come from a client, in one line of valid UTF-8."""
    return " ".join(text[:LONGEST].split()).encode("utf-8", "replace").decode()


def respond(error: HTTPException) -> JSONResponse:
    """The answer to a request that was refused, by us or by the framework."""
    param, code = (error.param, error.code) if isinstance(error, Refused) else (None, None)
    headers: Mapping[str, str] | None = error.headers
    return JSONResponse(error_body(error.status_code, str(error.detail), param, code), error.status_code, headers)


def from_validation(error: RequestValidationError) -> Refused:
    """The first thing that is wrong with a body, without repeating what the client sent."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part != "body"]
    if first["type"] == "json_invalid":
        return Refused(400, f"the body is not JSON: {first['ctx']['error'].lower()} at character {place[0]}")
    if first["type"] == "unsupported":
        name = first["ctx"]["name"]
        return Refused(400, f"{name} is not supported", param=name, code="unsupported_parameter")
    if first["type"] == "alone":
        return Refused(400, f"{first['ctx']['name']} {first['msg']}", param=first["ctx"]["name"])
    if not place:
        return Refused(400, "the body is to be a JSON object, with the header Content-Type: application/json")
    name = ".".join(place)
    if first["type"] == "missing":
        return Refused(400, f"{name} is missing", param=name)
    if first["type"] == "extra_forbidden":
        return Refused(400, f"{name} is not known here", param=name, code="unknown_parameter")
    said = first["msg"].removeprefix("Value error, ")
    return Refused(400, f"{name}: {said[:1].lower()}{said[1:]}", param=name)
