"""What is sent to a deployment."""

import msgspec

__all__ = ["Approval"]


class Approval(msgspec.Struct):
    """The answer of a person."""

    by: str
    yes: bool = True
