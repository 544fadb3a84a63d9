"""``encryption.pickle_key``: its text, the errors of a bad one, and the commands that write one."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.config.errors import ConfigErrors
from daarion_appservice.config.pickle_key import decode_pickle_key, new_pickle_key
from daarion_appservice.demo.files import DemoFiles, Ports
from daarion_appservice.matrix.client import registration_file

OCTETS = bytes(range(224, 256))
"""A key whose base64 has every character that the two alphabets write differently."""
STANDARD = base64.b64encode(OCTETS).decode()
URL_SAFE = base64.urlsafe_b64encode(OCTETS).decode()


def key_in(config: Path) -> str:
    return config_file.load(config, {}).encryption.pickle_key.get_secret_value()


# --- the text -----------------------------------------------------------------------------------------


def test_new_keys_are_random_and_have_32_bytes() -> None:
    keys = {decode_pickle_key(new_pickle_key()) for _ in range(50)}
    assert len(keys) == 50
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize("text", [STANDARD, STANDARD.rstrip("="), URL_SAFE, URL_SAFE.rstrip("="), f" {STANDARD}\n"])
def test_key_is_read_in_each_form_of_base64(text: str) -> None:
    assert STANDARD != URL_SAFE
    assert decode_pickle_key(text) == OCTETS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (base64.b64encode(OCTETS[:16]).decode(), "has 16 bytes in base64, and must have 32"),
        ("0123456789abcdef" * 4, "has 48 bytes in base64, and must have 32"),
        ("a key of mine, which is a sentence of words", "must be 32 random bytes in base64"),
        ("ключ" * 11, "must be 32 random bytes in base64"),
        (STANDARD[:20] + "\n" + STANDARD[20:], "must be 32 random bytes in base64"),
        ("A" * 43 + "=", "is one byte 32 times, and must be random"),
        ("<key>", "is a placeholder"),
        ("changeme", "is a placeholder"),
        ("${PICKLE_KEY}", "is a placeholder"),
    ],
)
def test_unusable_key_is_refused_without_showing_it(config: Path, text: str, sentence: str) -> None:
    environ = {"DAARION_ENCRYPTION__PICKLE_KEY": text}
    config.write_text("")
    with pytest.raises(ConfigErrors) as caught:
        config_file.load(config, environ)
    [error] = caught.value.errors
    assert error.sentence.startswith(sentence)
    assert "openssl rand -base64 32" in error.sentence
    assert text not in str(error)


def test_key_can_come_from_its_own_file(config: Path, tmp_path: Path) -> None:
    config.write_text("")
    (tmp_path / "key").write_text(f"{STANDARD}\n")
    settings = config_file.load(config, {"DAARION_ENCRYPTION__PICKLE_KEY_FILE": str(tmp_path / "key")})
    assert settings.encryption.is_on
    assert settings.encryption.octets() == OCTETS
    assert STANDARD not in repr(settings)


# --- on and off ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_on", "has_caution"),
    [
        ("", False, True),
        ("encryption: {enabled: true}", False, True),
        ("encryption: {enabled: false}", False, False),
        (f"encryption: {{pickle_key: '{STANDARD}'}}", True, False),
        (f"encryption: {{pickle_key: '{STANDARD}', enabled: false}}", False, False),
    ],
)
def test_encryption_is_on_with_a_key_only(config: Path, text: str, is_on: bool, has_caution: bool) -> None:
    config.write_text(text)
    settings = config_file.load(config, {})
    assert settings.encryption.is_on is is_on
    assert settings.encryption.octets() == (OCTETS if STANDARD in text else None)
    assert any("pickle_key is empty" in caution for caution in config_file.cautions(config, settings)) is has_caution


# --- who writes a key ---------------------------------------------------------------------------------


def test_generated_configurations_have_their_own_keys(config: Path, tmp_path: Path) -> None:
    config_edit.generate(config)
    config_edit.generate(tmp_path / "other.yaml")
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert config_file.load(config, {}).encryption.is_on
    assert key_in(config) != key_in(tmp_path / "other.yaml")


def test_upgrade_leaves_encryption_off(config: Path) -> None:
    config.write_text("homeserver: {domain: city.example}\n")
    assert "encryption" in config_edit.upgrade(config)
    assert key_in(config) == ""


def test_registration_of_new_city_makes_key(config: Path) -> None:
    config.write_text("")
    generated = registration_file.generate(config_file.load(config, {}), config)
    assert generated.has_new_pickle_key
    made = key_in(config)
    assert len(decode_pickle_key(made)) == 32
    again = registration_file.generate(config_file.load(config, {}), config, force=True)
    assert not again.has_new_pickle_key
    assert key_in(config) == made


def test_registration_of_existing_city_makes_no_key(config: Path) -> None:
    config.write_text("appservice: {as_token: ours, hs_token: theirs}\n")
    assert not registration_file.generate(config_file.load(config, {}), config).has_new_pickle_key
    assert key_in(config) == ""
    # The configuration was lost, and the registration file has the tokens: the city exists.
    config.write_text("")
    assert not registration_file.generate(config_file.load(config, {}), config, force=True).has_new_pickle_key
    assert key_in(config) == ""


def test_registration_keeps_generated_key(config: Path) -> None:
    config_edit.generate(config)
    made = key_in(config)
    assert not registration_file.generate(config_file.load(config, {}), config).has_new_pickle_key
    assert key_in(config) == made


def test_demo_makes_key_once(tmp_path: Path) -> None:
    files = DemoFiles(tmp_path)
    files.prepare(Ports(1, 2, 3))
    made = key_in(files.config)
    assert config_file.load(files.config, {}).encryption.is_on
    files.prepare(Ports(1, 2, 4))
    assert key_in(files.config) == made


def test_demo_of_older_version_gets_key(tmp_path: Path) -> None:
    files = DemoFiles(tmp_path)
    files.prepare(Ports(1, 2, 3))
    config_edit.set_values(files.config, {"encryption.pickle_key": ""})
    files.prepare(Ports(1, 2, 3))
    assert config_file.load(files.config, {}).encryption.is_on
