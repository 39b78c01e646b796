"""What a class inherits that notebooks can show. Imported with ``flow``: so it imports nothing itself."""

from __future__ import annotations

from typing import Any


class Rich:
    """Has an HTML form besides its text. Subclasses write :meth:`_repr_html_`; it draws when asked, and never fails."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What Jupyter asks for: the HTML, and the text where there can be no HTML.

        :param include: the only types wanted, if given; ``exclude``: those not wanted.
        """
        made = {"text/plain": self.__str__, "text/html": self._repr_html_}
        wanted = [kind for kind in made if (not include or kind in include) and kind not in (exclude or ())]
        return {kind: made[kind]() for kind in wanted}
