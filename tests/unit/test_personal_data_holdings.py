"""The register of personal data is complete: see ``storage/personal_data/holdings.py`` for what to add for a new table."""

from __future__ import annotations

from daarion_appservice.storage.personal_data.holdings import HOLDINGS, IMPERSONAL
from daarion_appservice.storage.tables import metadata
from tests.parts.person_rows import OF_AGENTS_ONLY, ROWS

PERSONAL_COLUMNS = {
    "author_id",
    "author_name",
    "citizen_id",
    "display_name",
    "ghost",
    "inviter",
    "matrix_user_id",
    "owner",
    "reader",
    "requester",
    "sender",
    "subject",
    "uploader_id",
    "user_id",
}
"""Names of columns that hold a person's id or name."""


def test_every_table_is_registered_once() -> None:
    registered = [holding.table.name for holding in HOLDINGS] + [table.name for table in IMPERSONAL]
    assert sorted(registered) == sorted(metadata.tables)


def test_impersonal_tables_have_no_personal_columns() -> None:
    found = [
        f"{table.name}.{column.name}" for table in IMPERSONAL for column in table.c if column.name in PERSONAL_COLUMNS
    ]
    assert found == []


def test_records_leave_out_secrets() -> None:
    secrets = ("pickle", "sha256", "token")
    exported = [(holding, column.name) for holding in HOLDINGS if holding.record for column in holding.table.c]
    leaks = [
        f"{holding.table.name}.{name}"
        for holding, name in exported
        if any(word in name for word in secrets) and name not in holding.omitted
    ]
    assert leaks == []


def test_records_left_out_have_reasons() -> None:
    assert [holding.table.name for holding in HOLDINGS if holding.record is None and not holding.note] == []


def test_every_holding_has_sample_rows() -> None:
    sampled = {table for table, _ in ROWS} | OF_AGENTS_ONLY
    assert [holding.table.name for holding in HOLDINGS if holding.table not in sampled] == []
