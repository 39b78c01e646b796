"""A run with secret inputs shows nothing of them."""

from __future__ import annotations

from flow.errors import InputError
from flow.masking import Masks, texts_in
from flow.run.state import PlanRun


def hide(run: PlanRun) -> None:
    """Let ``run``, which begins, mask its secret inputs, and let its messages say types instead of values.

    :raises InputError: if there are more secret texts than can be masked.
    """
    inputs, around = run.inputs, run.masks
    given = sorted(name for name in run.nodes.secret if name in inputs)
    try:
        texts = texts_in([inputs[name] for name in given])
    except ValueError as error:
        raise InputError(run.plan.name, [f"the secret inputs ({', '.join(given)}) are too large: {error}"]) from None
    if around is None:
        run.extras.masks = Masks(texts)
    elif not texts <= around.texts:
        run.extras.masks = Masks(texts | around.texts)
    if run.config.show_values:
        run.config = run.config._changed(show_values=False)  # a message may cut a text, or show what has no text


__all__ = ["hide"]
