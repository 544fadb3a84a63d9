"""The notice of an agent about a message that it cannot decrypt, in the language of the chat."""

from __future__ import annotations

import re
from typing import Final

from ...encryption.withheld import WithheldCode

_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")
_UNREADABLE_EN: Final = (
    "I could not decrypt a message of yours: your app has not sent me its key. I keep trying; it may help to send the "
    "message again."
)
_UNREADABLE_UK: Final = (
    "Я не зміг розшифрувати ваше повідомлення: ваш застосунок не надіслав мені ключа. Я пробую далі; допоможе й надіслати "
    "його ще раз."
)
_WITHHELD_EN: Final = (
    "I could not decrypt a message of yours: your app withholds its key from me ({code}). Check its settings for devices that "
    "are not verified."
)
_WITHHELD_UK: Final = (
    "Я не зміг розшифрувати ваше повідомлення: ваш застосунок не дає мені ключа ({code}). Перевірте його налаштування щодо "
    "непідтверджених пристроїв."
)


def notice_text(language_sample: str | None, withheld: str | None) -> str:
    """Return the notice.

    Args:
        language_sample: a message of the chat; without one the notice is in both languages.
        withheld: the code with which the sender's device withheld the key; None if it sent none.
    """
    is_refused = withheld is not None and withheld != WithheldCode.NO_OLM
    uk = _WITHHELD_UK.format(code=withheld) if is_refused else _UNREADABLE_UK
    en = _WITHHELD_EN.format(code=withheld) if is_refused else _UNREADABLE_EN
    if language_sample is None:
        return f"{uk}\n\n{en}"
    return uk if _CYRILLIC.search(language_sample) else en
