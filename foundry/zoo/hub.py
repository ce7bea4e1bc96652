"""A model of the Hugging Face hub as a folder on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from foundry.zoo.failure import ZooError

ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
WANTED = ["*.json", "*.safetensors", "*.jinja"]


def is_id(text: str) -> bool:
    """Whether a text may be the id of a model on the hub: owner/name, or a name alone."""
    return ID.fullmatch(text) is not None and ".." not in text


def fetched(name: str, revision: str | None = None) -> Path:
    """The folder that a model of the hub was brought to, in the cache of huggingface_hub.

    revision: a branch, a tag or a commit.

    Raises:
        ZooError: huggingface_hub is not installed, the hub cannot be reached, or it has no such model.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise ZooError(
            f"{name}: no such folder or file, and ids of the hub need huggingface_hub: pip install 'foundry[zoo]'"
        ) from None
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=WANTED))
    except LocalEntryNotFoundError:
        raise ZooError(
            f"{name}: no such folder or file, and the hub cannot be reached, nor is it in its cache"
        ) from None
    except HfHubHTTPError as error:
        code = getattr(error.response, "status_code", "no answer")
        raise ZooError(f"{name}: the hub has no such model, revision, or right to read it ({code})") from None
    except (OSError, ValueError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ZooError(f"{name}: the hub cannot be reached ({line})") from None
