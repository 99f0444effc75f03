"""Replies of a service with the OpenAI images interface."""

from __future__ import annotations

import base64
import io
from typing import Any

from llm_server import Reply
from PIL import Image


def image_file(colour: Any = (200, 30, 30), kind: str = "WEBP") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(buffer, kind)
    return buffer.getvalue()


def sent(data: bytes) -> Reply:
    return Reply(200, {"created": 0, "data": [{"b64_json": base64.b64encode(data).decode()}]})


def good(body: dict[str, Any], nth: int) -> Reply:
    return sent(image_file())
