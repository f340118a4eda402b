"""Which labels a text means: word by word, in either case, one or many ("dogs" means "German shepherd dog")."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")
_ENDINGS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""))
"""Of English plurals, and what stands there for one."""
_SHORTEST = 3
"""A word is not cut below this: "bus" is no plural of "bu"."""


def matching(labels: Sequence[str], text: str) -> list[int]:
    """The labels (their places) in which every word of `text` stands; none for a text without words."""
    wanted = [_forms(word) for word in _words(text)]
    if not wanted:
        return []
    return [place for place, label in enumerate(labels) if _has(label, wanted)]


def _has(label: str, wanted: Sequence[frozenset[str]]) -> bool:
    there = [_forms(word) for word in _words(label)]
    return all(any(forms & each for each in there) for forms in wanted)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _forms(word: str) -> frozenset[str]:
    """The word, and what it may be the plural of."""
    single = (word.removesuffix(end) + one for end, one in _ENDINGS if word.endswith(end))
    return frozenset({word, *(form for form in single if len(form) >= _SHORTEST)})
