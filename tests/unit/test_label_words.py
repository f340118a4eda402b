"""Labels are found by words, in either case, one or many."""

import pytest

from db.queries.label_words import matching

LABELS = ("tabby, tabby cat", "German shepherd dog", "hot-dog", "bus", "wolf", "sheep_dog", "glass", "butterfly",
          "knife", "caterpillar", "école", "box", "Dog")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("dogs", ["German shepherd dog", "hot-dog", "sheep_dog", "Dog"]),
        ("DOG", ["German shepherd dog", "hot-dog", "sheep_dog", "Dog"]),
        ("cat", ["tabby, tabby cat"]),
        ("cats", ["tabby, tabby cat"]),
        ("tabby cats", ["tabby, tabby cat"]),
        ("shepherd dogs", ["German shepherd dog"]),
        ("buses", ["bus"]),
        ("bus", ["bus"]),
        ("bu", []),
        ("wolves", ["wolf"]),
        ("knives", ["knife"]),
        ("butterflies", ["butterfly"]),
        ("glasses", ["glass"]),
        ("boxes", ["box"]),
        ("écoles", ["école"]),
        ("cat dog", []),
        ("zebra", []),
        ("", []),
        (" , - ", []),
    ],
)
def test_labels_by_words(text: str, found: list[str]) -> None:
    assert [LABELS[place] for place in matching(LABELS, text)] == found
