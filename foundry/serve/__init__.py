"""Serving: an OpenAI-compatible HTTP endpoint over one checkpoint. Needs the extra `serve`."""
