"""The registration file: as Synapse itself reads it, and compared with the configuration."""

from __future__ import annotations

import re
import stat
from itertools import count
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from synapse.appservice import ApplicationService
from synapse.config.appservice import load_appservices

from daarion_appservice.config import Settings
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.errors import ExitCode, StartError
from daarion_appservice.matrix.client import registration_file
from daarion_appservice.matrix.client.registration import Registration

DOMAIN = "city.example"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f"homeserver:\n  domain: {DOMAIN} # ours\nappservice:\n  id: daarion\n")
    path.chmod(0o600)
    return path


def load(config: Path) -> Settings:
    return config_file.load(config, {})


def generate(config: Path, *, force: bool = False) -> registration_file.Generated:
    return registration_file.generate(load(config), config, force=force)


def in_synapse(path: Path, domain: str = DOMAIN) -> ApplicationService:
    """The file as the real Synapse loads it."""
    [service] = load_appservices(domain, [str(path)])
    return service


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- what Synapse makes of it -------------------------------------------------------------------------


def test_synapse_loads_registration(config: Path) -> None:
    service = in_synapse(generate(config).path)
    settings = load(config)
    assert service.id == "daarion"
    assert service.url == "http://localhost:7025"
    assert service.token == settings.appservice.as_token.get_secret_value()
    assert service.hs_token == settings.appservice.hs_token.get_secret_value()
    assert service.sender.to_string() == f"@city:{DOMAIN}"


def test_ghosts_are_not_rate_limited(config: Path) -> None:
    service = in_synapse(generate(config).path)
    assert not service.is_rate_limited()
    assert not service.supports_ephemeral
    assert not service.supports_unstable_ephemeral


def test_protocol_is_registered_or_cautioned(config: Path) -> None:
    path = generate(config).path
    assert in_synapse(path).protocols == {"daarion"}
    assert registration_file.check(load(config)).cautions == []
    for older in ("", "protocols: []\n", "protocols: daarion\n", "protocols: [irc]\n"):
        path.write_text(re.sub(r"(?m)^protocols: .*\n", "", path.read_text()) + older)
        findings = registration_file.check(load(config))
        assert findings.differences == [], "everything else works"
        assert [caution.partition(",")[0] for caution in findings.cautions] == ["protocols does not hold daarion"]


@pytest.mark.parametrize("name", ["agent_daarwizz", "citizen_u_123", "citizen_=d0=b9", "city_observer", "city"])
def test_namespace_contains_ghosts(config: Path, name: str) -> None:
    assert in_synapse(generate(config).path).is_exclusive_user(f"@{name}:{DOMAIN}")


@pytest.mark.parametrize(
    "user",
    [
        f"@alice:{DOMAIN}",
        f"@city_observer2:{DOMAIN}",
        f"@my_agent_x:{DOMAIN}",
        f"@agent_:{DOMAIN}",
        "@agent_x:cityxexample",
        f"@agent_x:{DOMAIN}.evil.org",
        f"@agent_x:evil.org:{DOMAIN}",
        "@agent_x:evil.org",
    ],
)
def test_namespace_excludes_other_users(config: Path, user: str) -> None:
    assert not in_synapse(generate(config).path).is_interested_in_user(user)


@pytest.mark.parametrize(("alias", "ours"), [
    (f"#city:{DOMAIN}", True),
    (f"#city_general:{DOMAIN}", True),
    (f"#citygeneral:{DOMAIN}", False),
    (f"#city_:{DOMAIN}", False),
    (f"#my_city_general:{DOMAIN}", False),
    ("#city_general:cityxexample", False),
    (f"#city:{DOMAIN}.evil.org", False),
])  # fmt: skip
def test_namespace_contains_only_city_aliases(config: Path, alias: str, ours: bool) -> None:
    assert in_synapse(generate(config).path).is_exclusive_alias(alias) is ours


@pytest.mark.parametrize("domain", ["localhost:8448", "[::1]:8448", "my-city.example", "10.0.0.1"])
def test_every_kind_of_server_name_is_escaped_rightly(config: Path, domain: str) -> None:
    config.write_text(f"homeserver: {{domain: '{domain}'}}\n")
    service = in_synapse(generate(config).path, domain)
    assert service.is_exclusive_user(f"@agent_x:{domain}")
    assert not service.is_interested_in_user(f"@agent_x:{domain.replace('.', 'x')}1")
    assert registration_file.check(load(config)).differences == []


def test_the_example_is_loadable_too() -> None:
    path = Path(__file__).parents[2] / "registration.yaml.example"
    assert in_synapse(path, "example.org").is_exclusive_user("@agent_daarwizz:example.org")


# --- generate -----------------------------------------------------------------------------------------


def test_tokens_are_random_and_in_both_files(config: Path, tmp_path: Path) -> None:
    generated = generate(config)
    assert generated.new_tokens == ["as_token", "hs_token"]
    service = in_synapse(generated.path)
    assert service.hs_token is not None
    assert service.token != service.hs_token
    assert min(len(service.token), len(service.hs_token)) >= 64
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text("")
    assert in_synapse(generate(other / "config.yaml").path, "example.org").token != service.token


def test_comments_and_mode_of_the_configuration_stay(config: Path) -> None:
    generate(config)
    assert f"domain: {DOMAIN} # ours\n" in config.read_text()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_registration_file_is_private(config: Path) -> None:
    assert stat.S_IMODE(generate(config).path.stat().st_mode) == 0o600


def test_environment_tokens_are_not_written_to_config(config: Path) -> None:
    before = config.read_text()
    settings = config_file.load(config, {"DAARION_APPSERVICE__AS_TOKEN": "a", "DAARION_APPSERVICE__HS_TOKEN": "b"})
    generated = registration_file.generate(settings, config)
    assert generated.new_tokens == []
    assert config.read_text() == before
    assert in_synapse(generated.path).token == "a"


def test_only_the_token_that_is_missing_is_made(config: Path) -> None:
    config_edit.set_values(config, {"appservice.as_token": "mine"})
    tokens = (f"token-{number}" for number in count())
    generated = registration_file.generate(load(config), config, token=lambda: next(tokens))
    assert generated.new_tokens == ["hs_token"]
    service = in_synapse(generated.path)
    assert (service.token, service.hs_token) == ("mine", "token-0")


def test_existing_file_is_not_replaced(config: Path) -> None:
    path = generate(config).path
    before = path.read_bytes(), config.read_bytes()
    with pytest.raises(StartError, match="exists already") as caught:
        generate(config)
    assert caught.value.exit_code is ExitCode.REGISTRATION
    assert (path.read_bytes(), config.read_bytes()) == before


def test_force_rewrites_file_with_same_tokens(config: Path) -> None:
    before = in_synapse(generate(config).path)
    edit(config, "id: daarion", "id: daarion2")
    after = in_synapse(generate(config, force=True).path)
    assert after.id == "daarion2"
    assert (after.token, after.hs_token) == (before.token, before.hs_token)


def test_force_restores_tokens_from_file(config: Path) -> None:
    lost = config.read_text()
    before = in_synapse(generate(config).path)
    config.write_text(lost)
    generated = generate(config, force=True)
    assert (generated.new_tokens, generated.kept_tokens) == ([], ["as_token", "hs_token"])
    assert load(config).appservice.as_token.get_secret_value() == before.token


def test_force_refuses_unreadable_tokens(config: Path) -> None:
    before = config.read_text()
    load(config).appservice.registration.write_text("as_token: 'cut off")
    with pytest.raises(StartError, match="is not a registration file"):
        generate(config, force=True)
    assert config.read_text() == before


def test_force_removes_world_readable_mode(config: Path) -> None:
    path = generate(config).path
    path.chmod(0o644)
    generate(config, force=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_retry_after_failure_uses_same_tokens(config: Path, tmp_path: Path) -> None:
    edit(config, "id: daarion", "id: daarion\n  registration: keys/registration.yaml")
    with pytest.raises(StartError, match="there is no directory"):
        generate(config)
    made = load(config).appservice.as_token.get_secret_value()
    (tmp_path / "keys").mkdir()
    assert in_synapse(generate(config).path).token == made


def test_next_steps_name_synapse_setting(config: Path) -> None:
    steps = " ".join(generate(config).next_steps)
    assert "app_service_config_files" in steps
    assert "Restart Synapse" in steps


def test_no_token_shows_in_a_repr(config: Path) -> None:
    path = generate(config).path
    shown = repr(Registration.of(load(config))) + repr(load(config))
    assert in_synapse(path).token not in shown


# --- check --------------------------------------------------------------------------------------------


def test_generated_file_passes_check(config: Path) -> None:
    generate(config)
    assert registration_file.check(load(config)) == registration_file.Findings([], [])


def test_missing_file_names_generate_command(config: Path) -> None:
    with pytest.raises(StartError, match="There is no registration file") as caught:
        registration_file.check(load(config))
    assert "registration generate" in caught.value.help
    assert caught.value.exit_code is ExitCode.REGISTRATION


@pytest.mark.parametrize("text", ["- a list\n", "a: b: c\n", "", "\x00"])
def test_invalid_registration_is_explained(config: Path, text: str) -> None:
    load(config).appservice.registration.write_text(text)
    with pytest.raises(StartError, match="is not a registration file"):
        registration_file.check(load(config))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('id: "daarion"', "id: other", "id is other, but appservice.id is daarion"),
        (
            'url: "http://localhost:7025"',
            "url: null",
            "url is missing, but appservice.address is http://localhost:7025",
        ),
        ('sender_localpart: "city"', "sender_localpart: bot", "sender_localpart is bot, but appservice.bot is city"),
        ('as_token: "', 'as_token: "x', "as_token differs from appservice.as_token"),
        ("hs_token:", "old_token:", "hs_token is missing"),
        (
            "rate_limited: false",
            "rate_limited: true",
            "rate_limited must be false, or Synapse lets each ghost change presence only once in ten seconds",
        ),
        (
            "rate_limited: false",
            "",
            "rate_limited must be false, or Synapse lets each ghost change presence only once in ten seconds",
        ),
        (
            "receive_ephemeral: false",
            "receive_ephemeral: true",
            "receive_ephemeral must be off: the observer brings presence, and Synapse would send them twice",
        ),
        ("rooms: []", "rooms: [{exclusive: false, regex: '.*'}]",
         "namespaces.rooms must be empty: the city's rooms are known by who is in them"),
        ("^@agent_", "^@robot_", "namespaces.users does not match @agent_x:city.example"),
        ("exclusive: true\n      regex: '^#", "exclusive: false\n      regex: '^#",
         "namespaces.aliases matches #city:city.example, but not exclusively"),
        ("^@citizen_[^:]+:city\\.example$", "^@citizen_[^:]+:city.example$",
         ("namespaces.users has ^@citizen_[^:]+:city.example$, which also matches @citizen_u_1:city-example: "
         "that is not ours")),
        ("^@citizen_[^:]+:city\\.example$", "^@citizen_[^:]+:city\\.example",
         ("namespaces.users has ^@citizen_[^:]+:city\\.example, which also matches "
         "@citizen_u_1:city.example.evil.example: that is not ours")),
        ("^@city:", "^@.*:",
         "namespaces.users has ^@.*:city\\.example$, which also matches @alice:city.example: that is not ours"),
        ("^@city:", "^@(city:", "namespaces.users holds an entry that is not a valid regex with `exclusive`"),
    ],
)  # fmt: skip
def test_every_difference_is_explained(config: Path, old: str, new: str, sentence: str) -> None:
    edit(generate(config).path, old, new)
    assert sentence in registration_file.check(load(config)).differences


def test_a_difference_in_a_token_never_shows_the_token(config: Path) -> None:
    path = generate(config).path
    token = in_synapse(path).token
    edit(config, token, "another")
    sentence = " ".join(registration_file.check(load(config)).differences)
    assert "as_token differs" in sentence
    assert token not in sentence
    assert "another" not in sentence


def test_other_domain_in_configuration_is_noticed(config: Path) -> None:
    generate(config)
    edit(config, DOMAIN, "elsewhere.example")
    assert (
        "namespaces.users does not match @agent_x:elsewhere.example"
        in registration_file.check(load(config)).differences
    )


def test_all_differences_are_named_at_once(config: Path) -> None:
    path = generate(config).path
    edit(path, "rate_limited: false", "rate_limited: true")
    edit(path, 'id: "daarion"', "id: other")
    assert len(registration_file.check(load(config)).differences) == 2


def test_regexes_that_mean_the_same_are_no_difference(config: Path) -> None:
    path = generate(config).path
    values = YAML(typ="safe", pure=True).load(path)
    values["namespaces"]["users"] = [
        {"exclusive": True, "regex": r"@(agent_.+|citizen_.+|city_observer|city):city\.example$"}
    ]
    YAML().dump(values, path)
    assert registration_file.check(load(config)).differences == []


def test_world_readable_file_is_cautioned(config: Path) -> None:
    path = generate(config).path
    path.chmod(0o644)
    [sentence] = registration_file.check(load(config)).cautions
    assert f"chmod 600 {path}" in sentence
