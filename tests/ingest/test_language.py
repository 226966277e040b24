"""The language of texts."""
# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest

from vecdb_rerank.ingest.language import detect_language
from vecdb_rerank.request import Language

TEXTS = {
    "arabic": "القط يجلس على السجادة وينام طوال اليوم في الشمس",
    "chinese": "如何撤销一次提交而不丢失更改",
    "danish": "Katten ligger på måtten og sover hele dagen i solen, fordi den er træt.",
    "dutch": "De kat ligt op de mat en slaapt de hele dag in de zon, omdat hij moe is.",
    "english": "The cat lies on the mat and sleeps all day in the sun, because it is tired.",
    "finnish": "Kissa makaa matolla ja nukkuu koko päivän auringossa, koska se on väsynyt.",
    "french": "Le chat dort toute la journée au soleil, car il est fatigué.",
    "german": "Die Katze schläft den ganzen Tag in der Sonne, weil sie müde ist.",
    "greek": "Η γάτα ξαπλώνει στο χαλί και κοιμάται όλη μέρα στον ήλιο.",
    "hungarian": "A macska a szőnyegen fekszik és egész nap a napon alszik, mert fáradt.",
    "italian": "Il gatto è sdraiato sul tappeto e dorme tutto il giorno al sole.",
    "japanese": "猫はマットの上に横たわり、一日中日なたで眠っています。",
    "korean": "고양이는 매트 위에 누워 하루 종일 햇볕에서 잠을 잔다.",
    "norwegian": "Katten ligger på matta og sover hele dagen i sola og vil ikke gå ut.",
    "portuguese": "O gato está deitado no tapete e dorme o dia todo ao sol.",
    "romanian": "Pisica stă întinsă pe covor și doarme toată ziua la soare.",
    "russian": "Кошка лежит на коврике и спит весь день на солнце, потому что устала.",
    "spanish": "El gato está acostado en la alfombra y duerme todo el día al sol.",
    "swedish": "Katten ligger på mattan och sover hela dagen i solen, eftersom den är trött.",
    "tamil": "பூனை பாயில் படுத்து நாள் முழுவதும் வெயிலில் தூங்குகிறது.",
    "thai": "แมวนอนบนเสื่อและหลับทั้งวันกลางแดด",
    "turkish": "Kedi minderin üzerinde yatıyor ve bütün gün güneşte uyuyor.",
}


def test_each_language_of_bm25_is_detected() -> None:
    assert sorted(TEXTS) == sorted(get_args(Language))
    assert {name: detect_language([text]) for name, text in TEXTS.items()} == {n: n for n in TEXTS}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], None),
        (["", "  "], None),
        (["123 456 abc-77", '{"id": 4}'], None),
        (["Kot leży na macie i śpi cały dzień na słońcu, bo jest zmęczony."], None),
        (["def foo(x): return x + 1", "git reset --soft HEAD~1"], None),
        ([TEXTS["german"], TEXTS["english"]] * 20, None),
        ([TEXTS["german"]] * 40 + [TEXTS["english"]] * 5, "german"),
        (["Undo a commit", "Rename a branch", "Save work for later"], "english"),
        (["Rücktritt vom Vertrag", "Mängel der Mietsache", "Höhe der Miete"], "german"),
        (["\ud800 " + TEXTS["french"]], "french"),
    ],
)
def test_the_language_of_most_texts_counts(texts: Sequence[str], expected: str | None) -> None:
    assert detect_language(texts) == expected
