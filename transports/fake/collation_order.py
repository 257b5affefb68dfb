"""The order of characters that all languages start from, as mongod 6.0.5 (ICU 57) has it.

Found by sorting and grouping every character here on that server, at each strength. Scripts that
are not listed follow by their code points.

Spec: https://www.unicode.org/reports/tr10/
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

SPACE, PUNCTUATION, SYMBOL, CURRENCY, DIGIT, LATIN, GREEK, CYRILLIC, OTHER = range(9)

Primary = tuple[float, ...]

_GROUPS: Final = {
    SPACE: "\t\n\x0b\x0c\r\x85\u2028\u2029 ",
    PUNCTUATION: "_-‐‒–—―,;:!¡?¿‽.·'‘’‚‛‹›\"“”„‟«»()[]{}‖§¶@*/\\&#%‰‱†‡•‣‧′‵‸※‿",
    SYMBOL: "`^ʹ͵ʺ°҂©®℄℈℔℗℘℞℟℣℥℧℩℮℺⅁⅂⅃⅄⅊⅌⅏←→↑↓↔∀∁∂∃∅∆∇∈∊∋∍϶∎∏∐⅀+±÷×<=>¬|¦~−∓∔⅋",
    CURRENCY: "¤¢$£¥₠₡₢₣₤₥₦₧₩₪₫€₭₮₯₰₱₲₳₴₵₶₷₸₹₺₻₼₽₾",
    DIGIT: "0123456789",
    LATIN: (
        "aⱥbƀɓƃcȼƈdȸɖɗƌȡẟeɇǝəɛfƒⅎgǥɠɣƣhƕʱʻʽiıɨɩjȷɉkƙlỻƚȴƛmnɲƞȵŋoœɔɵȣpƥqȹɋĸrʀɍʴʵʶsßȿẜẝʃƪtƾŧⱦƫƭʈ"
        "ȶuʉɯʊvʋỽʌwxyɏƴỿȝzƍƶȥɀʒƹƺþƿƻƨƽƅɂˀʼʾʿˁǀǁǂǃ"
    ),
    GREEK: "αβγδεϝͷϛζͱηθιϳκϗλμνξοπϻϟϙρϼσͼͻͽτυφχψωϡͳϸϣϥϧϩϫϭϯ",
    CYRILLIC: (
        "аәӕбвгғӻҕӷдԁђԃҙеєжԫҗзԅԑѕӡԇиҋійјкқӄҡҟҝԟԛлӆԯԓԡљԉԕмӎнԩӊңӈԣҥњԋоөпԥҧҁрҏԗсԍҫтԏҭћуүұ"
        "ѹфхӽӿҳһԧѡѿѽѻцҵчԭҷӌҹҽҿџшщъыьҍѣэюяԙѥѧѫѩѭѯѱѳѵҩԝӏ"
    ),
}
# Combining marks by their weight; those that are not listed follow.
_MARKS: Final = (
    "\u0332\u0313\u0314\u0301\u0300\u0306\u0302\u030c\u030a\u0308\u030b\u0303\u0307\u0338\u0327"
    "\u0328\u0304\u030d\u0316\u0336\u0337\u0335\u0305\u0309\u030f\u0310\u0311\u031b\u0321\u0322"
    "\u0323\u0324\u0325\u0326\u032d\u032e\u0330\u0331\u0334\u0339\u0345\u0358\u0360\u0361"
)
LIGATURE: Final = "\ue000"
"""Stands behind a letter that is another one with a secondary weight of its own."""
COMMON: Final = 1
"""The secondary weight of a letter; languages have theirs between it and `LIKE`."""
LIKE: Final = 50
"""The secondary weight of a letter with `LIGATURE` behind it."""
_FIRST: Final = 100
# Letters that are others with a mark, which Unicode does not say.
_DECOMPOSED: Final = {
    "đ": "d\u0335",
    "ł": "l\u0335",
    "ħ": "h\u0335",
    "ø": "o\u0338",
    "ð": f"d{LIGATURE}",
    "æ": f"a{LIGATURE}e",
    "œ": f"o{LIGATURE}e",
    "ß": f"s{LIGATURE}s",
    "ſ": f"s{LIGATURE}",
    "ґ": f"г{LIGATURE}",
}
_LETTERS: Final[dict[str, Primary]] = {
    char: (float(group), float(place))
    for group, chars in _GROUPS.items()
    for place, char in enumerate(chars)
}
_MARK_WEIGHTS: Final = {mark: _FIRST + place for place, mark in enumerate(_MARKS)}


def mark_weight(char: str) -> int:
    """Return the secondary weight of a combining mark."""
    return _MARK_WEIGHTS.get(char) or _FIRST + len(_MARKS) + ord(char)


def is_mark(char: str) -> bool:
    """Tell whether a character weighs on the second level only."""
    return unicodedata.combining(char) != 0


def like(char: str) -> str:
    """Return the character that one differs from on the third level only."""
    if "ァ" <= char <= "ヶ":
        return chr(ord(char) - 0x60)  # katakana are like hiragana
    return "σ" if char == "ς" else char


@lru_cache(maxsize=4096)
def primary(char: str) -> Primary | None:
    """Return the first weight of a character in lower case, None if it has none."""
    char = like(char)
    found = _LETTERS.get(char)
    if found is not None:
        return found
    category = unicodedata.category(char)
    if category[0] == "C":
        return None
    if category[0] in "ZPS":
        group = {"Z": SPACE, "P": PUNCTUATION, "S": SYMBOL}[category[0]]
        return (float(group + (category == "Sc")), 10_000.0 + ord(char))
    if category == "Nd":
        return (float(DIGIT), float(unicodedata.digit(char)))
    return (float(OTHER), _script(char), float(ord(char)))


def _script(char: str) -> float:
    """Return where the character's script stands among those that are not listed."""
    code = ord(char)
    if 0x10A0 <= code < 0x1100:
        return 0.0  # Georgian, before Armenian
    if 0x0530 <= code < 0x3000:
        return 1.0 + (0x1100 <= code < 0x1200)  # Hangul's letters come behind
    if 0xAC00 <= code < 0xD7B0:
        return 2.0
    return 3.0 if code < 0x3400 else 4.0


def expansion(char: str) -> str:
    """Return what a character in lower case is made of; itself for most."""
    return _DECOMPOSED.get(char, char)
