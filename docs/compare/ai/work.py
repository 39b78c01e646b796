"""What the programs share: none of these lines is counted."""

from collections import Counter

calls: Counter[str] = Counter()
DOCUMENTS = [f"This is document {number}. " + "It has some words to be read. " * 10 for number in range(200)]
MAILS = {
    "billing": "I was charged twice for order 7.",
    "technical": "The app crashes when I open it.",
    "other": "Do you have a shop in Ghent?",
}


def find_order(number: int) -> str:
    """Find an order by its number."""
    calls["find_order"] += 1
    return f"order {number}: a lamp, 30 EUR, sent"


def refund(number: int, amount: int) -> str:
    """Refund an amount of an order, in EUR."""
    calls["refund"] += 1
    return f"refunded {amount} of order {number}"
