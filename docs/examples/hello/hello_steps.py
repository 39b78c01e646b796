"""What hello.yaml calls. Files call what is in __all__, and what @flow.action marks."""

__all__ = ["greet", "letter"]


async def greet(person: str, greeting: str) -> str:
    return f"{greeting}, {person}!"


def letter(lines: list[str], signed: str) -> str:
    return " ".join([*lines, f"({signed})"])
