"""End-to-end encryption of ghosts (Olm and Megolm) without I/O, clock or tasks.

Every function takes stored rows and returns rows to store: small frozen dataclasses (`rows`) that hold ratchets as
pickles. Nothing keeps state between two calls, so a caller that rolls its transaction back has nothing to repair:

    to-device event ─► olm_events.decrypt_olm_event ─► inbound_sessions.from_room_key ─► inbound_sessions.merge ─► rows
    room event ──────► megolm_events.parse_megolm_event ─► (the caller reads rows) ─► decrypt_megolm_event ─► content, row
    message ─────────► outbound_sessions.plan_outbound ─► key_sharing.share_session ─► encrypt_event ─► rows, requests

Times are arguments in milliseconds since 1970. JSON of other devices and users is hostile: every function raises an
`EncryptionError` for what it refuses and no other exception. `primitives` is the only module that imports vodozemac.
docs/explanation/encryption.md states the decisions.
"""
