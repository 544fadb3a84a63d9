"""Wraps vodozemac: accounts, Olm sessions and Megolm sessions with our types and errors.

No other module imports vodozemac. Two of its habits are handled here: it raises ``ValueError``, ``OverflowError`` or
``TypeError`` for bad input, and version 0.10 panics (a ``BaseException``) at an Ed25519 key of another length than 32
bytes, which would end the event loop. Keys are therefore normalized before vodozemac sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import vodozemac

from .base64_text import decode_base64, encode_base64, normalized_key
from .errors import EncryptionError, InvalidContent, InvalidPickle, Undecryptable

PRE_KEY: Final = 0
"""The type of an Olm message that can start a session."""
_NORMAL: Final = 1
MAX_INDEX: Final = (1 << 32) - 1
"""The last index of a Megolm ratchet."""


@contextmanager
def _raising(error: type[EncryptionError], what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError, TypeError) as cause:
        raise error(f"{what}: {cause}") from cause
    except BaseException as cause:
        # A panic of the Rust library has a type that no module exports.
        if type(cause).__name__ != "PanicException":
            raise
        raise error(f"{what}: {cause}") from cause


class PickleKey:
    """The 32-byte key under which ratchets are stored."""

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        """Take the key.

        Args:
            octets: Exactly 32 bytes.

        Raises:
            InvalidPickle: The key has another length.
        """
        if len(octets) != 32:
            raise InvalidPickle(f"the pickle key has {len(octets)} bytes, 32 are needed")
        self.octets: Final = bytes(octets)

    def __repr__(self) -> str:
        return "PickleKey(…)"


def is_valid_signature(public_key: str, message: bytes, signature: str) -> bool:
    """Return whether an Ed25519 signature in base64 is that of the key for the message; False for malformed ones."""
    try:
        with _raising(InvalidContent, "the signature is invalid"):
            key = vodozemac.Ed25519PublicKey.from_base64(normalized_key(public_key))
            octets = encode_base64(decode_base64(signature, what="the signature"))
            key.verify_signature(message, vodozemac.Ed25519Signature.from_base64(octets))
    except InvalidContent:
        return False
    return True


@dataclass(frozen=True, slots=True)
class OlmMessage:
    """An Olm message. ``kind`` is 0 for a pre-key message, which can start a session, and 1 for any other."""

    kind: int
    body: bytes

    @classmethod
    def parse(cls, kind: object, body: object) -> OlmMessage:
        """Read the fields ``type`` and ``body`` of an Olm ciphertext.

        Raises:
            InvalidContent: The type is neither 0 nor 1, or the body is not base64 or no Olm message.
        """
        if isinstance(kind, bool) or not isinstance(kind, int) or kind not in {PRE_KEY, _NORMAL}:
            raise InvalidContent("the type of an Olm message is neither 0 nor 1")
        message = cls(kind, decode_base64(body, what="the body of the Olm message"))
        message.native()
        return message

    def native(self) -> vodozemac.AnyOlmMessage:
        with _raising(InvalidContent, "not an Olm message"):
            return vodozemac.AnyOlmMessage.from_parts(self.kind, self.body)

    def native_pre_key(self) -> vodozemac.PreKeyMessage:
        message = self.native().to_pre_key()
        if message is None:
            raise InvalidContent("not a pre-key message")
        return message


class OlmSession:
    """An Olm session of one device with one other."""

    def __init__(self, native: vodozemac.Session) -> None:
        self._native: Final = native

    @classmethod
    def from_pickle(cls, pickle: str, key: PickleKey) -> OlmSession:
        with _raising(InvalidPickle, "an Olm session cannot be read"):
            return cls(vodozemac.Session.from_pickle(pickle, key.octets))

    def pickle(self, key: PickleKey) -> str:
        return self._native.pickle(key.octets)

    @property
    def session_id(self) -> str:
        return self._native.session_id

    def is_started_by(self, message: OlmMessage) -> bool:
        """Return whether a pre-key message belongs to this session."""
        with _raising(InvalidContent, "not a pre-key message"):
            return self._native.session_matches(message.native_pre_key())

    def encrypt(self, plaintext: bytes) -> tuple[int, str]:
        """Encrypt and advance the ratchet; return the message's type and its body in base64."""
        with _raising(Undecryptable, "the Olm session cannot encrypt"):
            kind, body = self._native.encrypt(plaintext).to_parts()
        return kind, encode_base64(body)

    def decrypt(self, message: OlmMessage) -> bytes:
        """Decrypt and advance the ratchet.

        Raises:
            Undecryptable: The message is not of this session, or was decrypted before.
        """
        with _raising(Undecryptable, "the Olm message does not fit"):
            return self._native.decrypt(message.native())


class OlmAccount:
    """The identity keys of a device, with its one-time and fallback keys."""

    def __init__(self, native: vodozemac.Account | None = None) -> None:
        self._native: Final = native or vodozemac.Account()

    @classmethod
    def from_pickle(cls, pickle: str, key: PickleKey) -> OlmAccount:
        with _raising(InvalidPickle, "an account cannot be read"):
            return cls(vodozemac.Account.from_pickle(pickle, key.octets))

    def pickle(self, key: PickleKey) -> str:
        return self._native.pickle(key.octets)

    @property
    def curve25519(self) -> str:
        return self._native.curve25519_key.to_base64()

    @property
    def ed25519(self) -> str:
        return self._native.ed25519_key.to_base64()

    @property
    def max_one_time_keys(self) -> int:
        return self._native.max_number_of_one_time_keys

    def sign(self, message: bytes) -> str:
        return self._native.sign(message).to_base64()

    def unpublished_one_time_keys(self) -> dict[str, str]:
        return {key_id: key.to_base64() for key_id, key in self._native.one_time_keys.items()}

    def unpublished_fallback_key(self) -> dict[str, str]:
        # The stubs of vodozemac 0.10 lack both names of the fallback key.
        keys = cast("dict[str, vodozemac.Curve25519PublicKey]", cast("Any", self._native).fallback_key)
        return {key_id: key.to_base64() for key_id, key in keys.items()}

    def generate_one_time_keys(self, count: int) -> None:
        self._native.generate_one_time_keys(count)

    def generate_fallback_key(self) -> None:
        cast("Any", self._native).generate_fallback_key()

    def mark_published(self) -> None:
        self._native.mark_keys_as_published()

    def start_session(self, identity_key: str, one_time_key: str) -> OlmSession:
        """Start a session with another device from its identity key and a claimed one-time key.

        Raises:
            InvalidContent: A key is malformed, or one with which no secret can be agreed on.
        """
        identity, one_time = normalized_key(identity_key), normalized_key(one_time_key)
        with _raising(InvalidContent, "no Olm session can be started"):
            from_base64 = vodozemac.Curve25519PublicKey.from_base64
            return OlmSession(self._native.create_outbound_session(from_base64(identity), from_base64(one_time)))

    def accept_session(self, identity_key: str, message: OlmMessage) -> tuple[OlmSession, bytes]:
        """Start a session from a pre-key message and use up its one-time key.

        Raises:
            Undecryptable: The one-time key is not ours any more, or the identity key is not the message's.
        """
        identity = normalized_key(identity_key)
        with _raising(Undecryptable, "no Olm session can be accepted"):
            key = vodozemac.Curve25519PublicKey.from_base64(identity)
            session, plaintext = self._native.create_inbound_session(key, message.native_pre_key())
        return OlmSession(session), plaintext


class MegolmSender:
    """The ratchet of an outbound Megolm session."""

    def __init__(self, native: vodozemac.GroupSession | None = None) -> None:
        self._native: Final = native or vodozemac.GroupSession()

    @classmethod
    def from_pickle(cls, pickle: str, key: PickleKey) -> MegolmSender:
        with _raising(InvalidPickle, "an outbound Megolm session cannot be read"):
            return cls(vodozemac.GroupSession.from_pickle(pickle, key.octets))

    def pickle(self, key: PickleKey) -> str:
        return self._native.pickle(key.octets)

    @property
    def session_id(self) -> str:
        return self._native.session_id

    @property
    def index(self) -> int:
        """The index of the next message."""
        return self._native.message_index

    @property
    def session_key(self) -> str:
        """The signed key from the current index on, in base64."""
        return self._native.session_key.to_base64()

    def encrypt(self, plaintext: bytes) -> str:
        return self._native.encrypt(plaintext).to_base64()


class MegolmReceiver:
    """The ratchet of an inbound Megolm session, from its first known index on."""

    def __init__(self, native: vodozemac.InboundGroupSession) -> None:
        self._native: Final = native

    @classmethod
    def from_pickle(cls, pickle: str, key: PickleKey) -> MegolmReceiver:
        with _raising(InvalidPickle, "an inbound Megolm session cannot be read"):
            return cls(vodozemac.InboundGroupSession.from_pickle(pickle, key.octets))

    @classmethod
    def from_session_key(cls, session_key: str) -> MegolmReceiver:
        """Read the signed format of ``m.room_key``.

        Raises:
            InvalidContent: The key is malformed, or its signature is not of the session.
        """
        octets = encode_base64(decode_base64(session_key, what="session_key"))
        with _raising(InvalidContent, "session_key is invalid"):
            return cls(vodozemac.InboundGroupSession(vodozemac.SessionKey(octets)))

    @classmethod
    def from_exported_key(cls, session_key: str) -> MegolmReceiver:
        """Read the unsigned format of ``m.forwarded_room_key`` and of key files.

        Raises:
            InvalidContent: The key is malformed.
        """
        octets = encode_base64(decode_base64(session_key, what="session_key"))
        with _raising(InvalidContent, "session_key is invalid"):
            return cls(vodozemac.InboundGroupSession.import_session(vodozemac.ExportedSessionKey(octets)))

    def pickle(self, key: PickleKey) -> str:
        return self._native.pickle(key.octets)

    @property
    def session_id(self) -> str:
        return self._native.session_id

    @property
    def first_index(self) -> int:
        return self._native.first_known_index

    def export_at(self, index: int) -> str | None:
        """The unsigned key from ``index`` on, in base64; None before the first known index."""
        if not 0 <= index <= MAX_INDEX:
            return None
        with _raising(Undecryptable, "the Megolm session cannot be exported"):
            exported = self._native.export_at(index)
        return exported.to_base64() if exported else None

    def decrypt(self, ciphertext: str) -> tuple[bytes, int]:
        """Decrypt a message; return its plaintext and its index, which the message's authentication covers.

        Raises:
            Undecryptable: The ciphertext does not fit the session, or is older than the first known index.
        """
        with _raising(Undecryptable, "the Megolm message does not fit"):
            found = self._native.decrypt(vodozemac.MegolmMessage.from_base64(ciphertext))
            return found.plaintext, found.message_index


def megolm_index(ciphertext: str) -> int:
    """Read the index of a Megolm message in base64, before it is authenticated.

    Raises:
        InvalidContent: The ciphertext is not a Megolm message.
    """
    with _raising(InvalidContent, "not a Megolm message"):
        return vodozemac.MegolmMessage.from_base64(ciphertext).message_index()
