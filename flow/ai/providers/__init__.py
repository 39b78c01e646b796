"""What answers requests: OpenAI's and Anthropic's protocols, the user's own SDK clients, and scripted replies."""

from __future__ import annotations
