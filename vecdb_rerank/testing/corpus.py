"""Forty short documents on eight subjects, and a question on each subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "bread": (
        "Sourdough bread rises because wild yeast in the starter makes carbon dioxide.",
        "Kneading dough builds gluten, which holds the gas of the yeast.",
        "A hot baking stone gives the loaf a crisp crust.",
        "Rye flour absorbs more water than wheat flour does.",
        "Let the loaf cool on a rack for an hour before you slice it.",
    ),
    "sailing": (
        "A sailing boat tacks by turning its bow through the wind.",
        "Reef the mainsail early when the wind freshens.",
        "The keel keeps a yacht from drifting sideways to leeward.",
        "Tie a bowline to make a loop that does not slip.",
        "Give way to a vessel that is on starboard tack.",
    ),
    "volcanoes": (
        "A volcano erupts when magma under pressure finds a way to the surface.",
        "Basalt lava flows faster than lava rich in silica.",
        "Ash clouds from an eruption can stop jet engines in flight.",
        "Calderas form where an emptied magma chamber collapses.",
        "Geologists measure tremors and gas to forecast the next eruption.",
    ),
    "python": (
        "A Python generator yields one value at a time and keeps memory low.",
        "List comprehensions build a list from any iterable in one expression.",
        "The global interpreter lock lets one thread run bytecode at a time.",
        "Decorators wrap a function to add behaviour before or after it runs.",
        "Use a context manager to close a file even when an exception is raised.",
    ),
    "bees": (
        "Honey bees dance to tell the hive where flowers with nectar are.",
        "The queen lays up to two thousand eggs on a day in spring.",
        "Beekeepers smoke a hive to calm it before opening the frames.",
        "Varroa mites weaken colonies and carry viruses between them.",
        "Drones have no sting and leave the hive only to mate.",
    ),
    "tax": (
        "An invoice has to show the rate of value added tax and the net amount.",
        "Losses carried forward reduce the profit that is taxed next year.",
        "Depreciation spreads the price of a machine over its useful life.",
        "Freelancers pay income tax in advance every quarter.",
        "Keep receipts for ten years, the tax office may ask for them.",
    ),
    "telescopes": (
        "A telescope with a larger mirror collects more light from faint galaxies.",
        "Adaptive optics cancel the blur that moving air puts into starlight.",
        "Radio dishes are linked over continents to sharpen the image of a black hole.",
        "Infrared instruments are cooled so that their own heat does not blind them.",
        "The focal length of the eyepiece decides the magnification.",
    ),
    "running": (
        "Marathon runners train long slow distances to burn more fat and spare glycogen.",
        "Increase your weekly mileage by a tenth at most to avoid shin splints.",
        "Intervals at high intensity raise the maximum uptake of oxygen.",
        "Worn shoes lose their cushioning after eight hundred kilometres.",
        "Drink before you are thirsty when a race is hot.",
    ),
}

QUERIES: Mapping[str, str] = {
    "bread": "why does sourdough bread rise with yeast",
    "sailing": "how does a sailing boat tack through the wind",
    "volcanoes": "what makes a volcano erupt with magma",
    "python": "how does a generator in Python keep memory low",
    "bees": "how do honey bees tell the hive where nectar is",
    "tax": "what does an invoice show about value added tax",
    "telescopes": "why does a larger telescope mirror collect more light",
    "running": "how do marathon runners train to burn fat",
}
"""A question by subject; its answer is the subject's first document."""


class CorpusDocument(TypedDict):
    """A document of `CORPUS`; ``number`` counts the documents of a subject from 0."""

    id: str
    title: str
    text: str
    subject: str
    number: int


CORPUS: tuple[CorpusDocument, ...] = tuple(
    {
        "id": f"{subject}-{number}",
        "title": f"{subject.capitalize()} {number}",
        "text": text,
        "subject": subject,
        "number": number,
    }
    for subject, texts in _TEXTS.items()
    for number, text in enumerate(texts)
)
