"""The base of classes that notebooks show as HTML. ``import flow`` loads this file, so the file imports no other."""

from __future__ import annotations

from typing import Any


class Rich:
    """A value with an HTML form besides its text. Subclasses define :meth:`_repr_html_`, which must not fail."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return the forms of this value by MIME type, as Jupyter asks for them: HTML and text.

        :param include: the only types wanted, if given; ``exclude``: those not wanted.
        """
        made = {"text/plain": self.__str__, "text/html": self._repr_html_}
        wanted = [kind for kind in made if (not include or kind in include) and kind not in (exclude or ())]
        return {kind: made[kind]() for kind in wanted}
