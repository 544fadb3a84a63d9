"""End-to-end encryption of direct chats: the requests and transactions around the engine in `daarion_appservice.encryption`.

    encrypted event ─► room_decryptor ─► known session? ─► decrypted inside the transaction of the event
                             └─ unknown ─► to_device (one /sync of the ghost) ─► still unknown ─► undecrypted_worker
    agent's message ─► room_encryptor ─► device_lists, olm_sessions ─► to-device requests ─► ciphertext

Only the leader encrypts and decrypts: two processes with the same account would break the ratchets. One lock per ghost
(`GhostLocks`) orders its requests. Nothing is cached between two transactions but the members of encrypted rooms.
"""
