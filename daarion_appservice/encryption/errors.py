"""The exceptions of encryption, in one tree.

    DaarionError
     └── EncryptionError               a key, message or file was refused; nothing changed
          ├── InvalidContent           JSON does not have the shape in the Matrix specification
          ├── InvalidSignature         a signature or key does not belong to the device that the JSON names
          ├── WrongContext             a decrypted event names another sender, recipient or room than its envelope
          ├── UnknownSession           no session decrypts the message: its key may still come
          ├── Undecryptable            the ciphertext does not fit its session: a retry does not help
          ├── ReplayedMessage          the index of the Megolm session belongs to another event
          ├── InvalidAttachment        a file does not have the hash that its event states
          └── InvalidPickle            a stored ratchet cannot be read: wrong pickle key, or a damaged database

The text of an error names keys and ids, never a secret or a plaintext.
"""

from __future__ import annotations

from ..errors import DaarionError


class EncryptionError(DaarionError):
    """A key, message or file was refused, and nothing changed."""


class InvalidContent(EncryptionError):
    """The JSON does not have the shape in the Matrix specification."""


class InvalidSignature(EncryptionError):
    """A signature or key does not belong to the device or user that the JSON names."""


class WrongContext(EncryptionError):
    """A decrypted event names another sender, recipient or room than the event that carried it."""


class UnknownSession(EncryptionError):
    """No stored session decrypts the message; the same message may be decrypted after its key came."""


class Undecryptable(EncryptionError):
    """The ciphertext does not fit its session; a retry does not help."""


class ReplayedMessage(EncryptionError):
    """The index of the Megolm session belongs to another event: a server or member repeats a message."""


class InvalidAttachment(EncryptionError):
    """The file does not have the hash that its event states, or the event states no usable key."""


class InvalidPickle(EncryptionError):
    """A stored ratchet cannot be read: the pickle key is wrong, or the database is damaged."""
