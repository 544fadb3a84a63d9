"""Display names of citizens: validation and sanitizing."""

from __future__ import annotations

import pytest

from daarion_appservice.city.display_names import MAX_CHARS, citizen_name
from daarion_appservice.errors import InvalidInput

BLANK = "\u034f\u115f\u1160\u17b4\u2800\u3164\uffa0"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("❤\ufe0f Оля", "❤\ufe0f Оля"),
        ("Оксана", "Оксана"),
        ("  Ivan \t Франко ", "Ivan Франко"),
        ("и\u0306", "й"),  # two characters that are one
        ("👩‍🌾", "👩‍🌾"),  # held together by a joiner that is not seen
        ("я" * MAX_CHARS, "я" * MAX_CHARS),
        (f" {'я' * MAX_CHARS} ", "я" * MAX_CHARS),
    ],
)
def test_valid_name_is_kept(given: str, shown: str) -> None:
    assert citizen_name(given) == shown


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("", "name_required"),
        (" \u00a0\t\n", "name_required"),
        ("\u200d", "name_required"),
        ("\ufe0f", "name_required"),  # a variation selector without an emoji
        *((blank, "name_required") for blank in BLANK),
        *((f"Окса{blank}на", "name_invalid") for blank in BLANK),
        ("я" * (MAX_CHARS + 1), "name_invalid"),
        ("Окса\u202eна", "name_invalid"),  # turns the text that follows
        ("Окса\u200bна", "name_invalid"),  # looks like another's
        ("\x07Оксана", "name_invalid"),
        ("Оксана\ue000", "name_invalid"),
    ],
)
def test_invalid_name_is_refused(given: str, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        citizen_name(given)
    assert (raised.value.code, raised.value.status) == (code, 422)
