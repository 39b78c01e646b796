"""What a node asks, as a digest: a store compares it where a run goes on, to tell that a prompt is another one now."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from flow.ai.messages import Request
from flow.ai.prompts import Prompt
from flow.signature import code_of, qualname_of


def digest_of(models: Iterable[str], request: Request, prompt: Prompt) -> str:
    """Return a digest of all that a node asks by: models, the common part of its requests, and its prompts.

    Of functions their own code counts, not that of those they call.
    """
    digest = blake2b(digest_size=16)
    for part in ("\0".join(models), msgspec.json.encode(request, enc_hook=repr, order="deterministic"), *prompt._given):
        digest.update(_said(part) + b"\0")
    return digest.hexdigest()


def _said(part: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, str):
        return part.encode("utf-8", "replace")
    code = code_of(part)
    if code is None:
        text = getattr(part, "text", None) or getattr(part, "source", None)  # of a template
        return (text if isinstance(text, str) else qualname_of(part) or repr(part)).encode("utf-8", "replace")
    return code.co_code + repr((code.co_names, code.co_varnames)).encode("utf-8", "replace")


__all__ = ["digest_of"]
