"""Backup and restore: one archive with a consistent copy of the database, the configuration and the registration.

backup    database ── snapshot ──► archive.tar.gz ◄── config.yaml, registration.yaml
restore   archive.tar.gz ── checked ──► database ── migrated, sequence numbers raised ──► service

The service continues during a backup, and must not run during a restore.
"""
