"""Comparison of a registration file with the configuration: one sentence per difference, none of them with a token.

Namespaces are compared by the ids that they match in Synapse, so that the spelling of a regex does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...city.identity import AGENT_PREFIX, CITIZEN_PREFIX, OBSERVER
from .registration import Registration

TOKENS = ("as_token", "hs_token")


def find(values: Mapping[str, Any], wanted: Registration, domain: str) -> list[str]:
    """Return the differences that stop the service from working.

    Args:
        values: the parsed registration file.
        wanted: the registration that the configuration requires.
        domain: the server name of the homeserver.
    """
    return [
        *_value_differences(values, wanted),
        *_flag_differences(values),
        *_namespace_differences(values, wanted, domain),
    ]


def cautions(values: Mapping[str, Any], protocol: str) -> list[str]:
    """Return the differences that disable only optional features."""
    protocols = values.get("protocols")
    if isinstance(protocols, list) and protocol in protocols:
        return []
    missing = (
        f"protocols does not hold {protocol}, so clients cannot look up agents: generate the file again with "
        "`daarion-appservice registration generate --force`, give it to Synapse and restart Synapse"
    )
    return [missing]


def _value_differences(values: Mapping[str, Any], wanted: Registration) -> list[str]:
    found = []
    for name, key in (("id", "id"), ("url", "address"), ("sender_localpart", "bot")):
        theirs, ours = values.get(name), getattr(wanted, name)
        if (theirs.rstrip("/") if isinstance(theirs, str) else theirs) != ours:
            found.append(f"{name} is {theirs or 'missing'}, but appservice.{key} is {ours}")
    for name in TOKENS:
        theirs, ours = values.get(name), getattr(wanted, name)
        if not ours:
            found.append(f"appservice.{name} is empty in the configuration")
        elif not theirs:
            found.append(f"{name} is missing")
        elif theirs != ours:
            found.append(f"{name} differs from appservice.{name}")
    return found


def _flag_differences(values: Mapping[str, Any]) -> list[str]:
    found = []
    if values.get("rate_limited") is not False:
        found.append("rate_limited must be false, or Synapse lets each ghost change presence only once in ten seconds")
    found += [
        f"{name} must be off: the observer brings presence, and Synapse would send them twice"
        for name in ("receive_ephemeral", "de.sorunome.msc2409.push_ephemeral")
        if values.get(name)
    ]
    return found


def _namespace_differences(values: Mapping[str, Any], wanted: Registration, domain: str) -> list[str]:
    namespaces = values.get("namespaces")
    if not isinstance(namespaces, dict):
        return ["namespaces are missing"]
    ours = {
        "users": [
            f"@{name}:{domain}"
            for name in (f"{AGENT_PREFIX}x", f"{CITIZEN_PREFIX}u_1", OBSERVER, wanted.sender_localpart)
        ],
        "aliases": [f"#city:{domain}", f"#city_x:{domain}"],
    }
    found = [
        sentence
        for kind, ids in ours.items()
        for sentence in _match_differences(kind, namespaces.get(kind), ids, domain)
    ]
    if namespaces.get("rooms"):
        found.append("namespaces.rooms must be empty: the city's rooms are known by who is in them")
    return found


def _match_differences(kind: str, entries: Any, ours: list[str], domain: str) -> list[str]:
    """Return where the regexes do not match exactly the service's ids, exclusively."""
    regexes: list[tuple[re.Pattern[str], bool]] = []
    found = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            regexes.append((re.compile(entry["regex"]), entry.get("exclusive") is True))
        except (re.error, TypeError, KeyError, AttributeError):
            found.append(f"namespaces.{kind} holds an entry that is not a valid regex with `exclusive`")
    for id_ in ours:
        # As in Synapse, the first regex that matches from the beginning of the id decides.
        exclusive = next((exclusive for regex, exclusive in regexes if regex.match(id_)), None)
        if exclusive is None:
            found.append(f"namespaces.{kind} does not match {id_}")
        elif not exclusive:
            found.append(f"namespaces.{kind} matches {id_}, but not exclusively")
    for regex, _ in regexes:
        if foreign_id := next((each for each in _foreign_ids(ours, domain) if regex.match(each)), None):
            found.append(f"namespaces.{kind} has {regex.pattern}, which also matches {foreign_id}: that is not ours")
    return found


def _foreign_ids(ours: list[str], domain: str) -> list[str]:
    """Return foreign ids that an imprecise regex matches: other users, other homeservers, longer or dotless domains."""
    sigil = ours[0][0]
    others = [f"{sigil}alice:{domain}", f"{sigil}alice_agent_x:{domain}"]
    for id_ in ours:
        others += [f"{id_}.evil.example", f"{id_.partition(':')[0]}:elsewhere.example"]
        if "." in domain:
            others.append(id_.removesuffix(domain) + domain.replace(".", "-"))
    return others
