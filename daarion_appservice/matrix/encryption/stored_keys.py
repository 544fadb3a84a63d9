"""Whether ``encryption.pickle_key`` is the key of the encryption keys in the database."""

from __future__ import annotations

from enum import StrEnum

from ...config import EncryptionSettings
from ...encryption.errors import InvalidPickle
from ...encryption.primitives import OlmAccount, PickleKey
from ...errors import ExitCode, StartError
from ...storage.database import Database


class StoredKeys(StrEnum):
    """The relation between the configured pickle key and the database."""

    NONE = "none"
    """The database has no encryption keys."""
    READABLE = "readable"
    NO_KEY = "no_key"
    """The configuration has no pickle key, and the database has encryption keys."""
    OTHER_KEY = "other_key"
    """The encryption keys were stored with another pickle key."""


async def examine_stored_keys(database: Database, settings: EncryptionSettings) -> StoredKeys:
    """Try to read the keys of one ghost: all were stored with the same pickle key."""
    async with database.read_only() as tx:
        account = await tx.encryption_accounts.any_account()
    if account is None:
        return StoredKeys.NONE
    octets = settings.octets()
    if octets is None:
        return StoredKeys.NO_KEY
    try:
        # The master key is the smallest of the pickles of an account.
        OlmAccount.from_pickle(account.master_pickle, PickleKey(octets))
    except InvalidPickle:
        return StoredKeys.OTHER_KEY
    return StoredKeys.READABLE


async def check_stored_keys(database: Database, settings: EncryptionSettings) -> None:
    """Refuse to start with a pickle key under which agents would lose their identities.

    Raises:
        StartError: encryption is enabled, and the database has encryption keys that the pickle key does not read.
    """
    if not settings.enabled:
        return
    match await examine_stored_keys(database, settings):
        case StoredKeys.NO_KEY:
            what = "The database has encryption keys of agents, and encryption.pickle_key is empty."
            advice = "To end encryption, set encryption.enabled to false. "
        case StoredKeys.OTHER_KEY:
            what = "The encryption keys of agents in the database were stored with another encryption.pickle_key."
            advice = ""
        case _:
            return
    raise StartError(
        what,
        f"Set the former key in the configuration or the environment of the service. {advice}If the key is lost, "
        "`daarion-appservice encryption discard-keys` deletes what it protects, and agents get new identities.",
        ExitCode.CONFIG,
    )
