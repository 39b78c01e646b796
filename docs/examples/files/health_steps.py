"""What health.yaml calls."""

from dataclasses import dataclass

__all__ = ["check", "these"]


@dataclass
class Answer:
    """What a server says."""

    server: str
    ms: int


async def check(server: str, number: int) -> Answer:
    """Ask a server."""
    if server == "db2":
        raise ConnectionRefusedError(f"{server} is down")
    return Answer(server, 20 * (number + 1))


def these(servers: list[str], places: list[int]) -> list[str]:
    """Pick the servers at some places."""
    return [servers[place] for place in places]
