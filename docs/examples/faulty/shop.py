"""What the faulty files beside this call, or would."""

import msgspec

__all__ = ["Approval", "fetch", "price", "send", "total"]


class Approval(msgspec.Struct):
    """What an approval is answered with."""

    by: str
    yes: bool = True


def fetch(shop: str, pages: int = 1) -> list[str]:
    """Fetch the goods of a shop."""
    return [f"{shop} {page}" for page in range(pages)]


def price(item: str) -> float:
    """Find a price."""
    return float(len(item))


def total(prices: list[float]) -> float:
    """Add prices up."""
    return sum(prices)


def send(text: str, to: str = "ops") -> str:
    """Send a text."""
    return f"{to}: {text}"


def remove(shop: str) -> None:
    """Not for files: neither in __all__ nor marked."""
