"""The texts of events that are parsed before the database transaction which handles the events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

from ...city.background_parsing import prose_of
from ...city.event_fields import MESSAGE_ID, Event, content_of, event_id_of, inner, is_message, sender_of, type_of
from ...city.identity import Identities
from ...storage.database import Transaction
from ..client.message_content import read_message_content, replaced


class TextsAhead:
    """Finds the texts, and returns calls for `city.background_parsing` that parse them."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def of_new(self, events: Iterable[Event]) -> list[Callable[[], object]] | None:
        """Return the calls for messages of which nothing is stored yet; None if one of the events is an edit."""
        messages = self._messages(events)
        return None if any(replaced(content_of(event)) for event in messages) else list(self._calls(messages))

    async def of_all(
        self, tx: Transaction, events: Iterable[Event], edited_early: Collection[str] | None = None
    ) -> list[Callable[[], object]]:
        """Return the calls for the events, their early edits and the edited messages.

        Args:
            tx: the connection to read with.
            edited_early: the ids of events whose edits arrived before them; None if that is not known.
        """
        messages = self._messages(events)
        ids = [event_id_of(event) for event in messages]
        if edited_early is not None:
            ids = [event_id for event_id in ids if event_id in edited_early]
        texts = [*messages, *await tx.revisions.early(ids)]
        calls = list(self._calls(texts))
        for event in texts:
            if original := replaced(content_of(event)):
                # An edit triggers a reply only of agents that the text before it did not mention.
                edited = await tx.messages.by_event_id(original)
                calls += [partial(prose_of, edited.body)] if edited and "@" in edited.body else []
        return calls

    def _messages(self, events: Iterable[Event]) -> list[Event]:
        return [event for event in events if is_message(event) and not self._is_echo(event)]

    def _calls(self, events: Sequence[Event]) -> Iterator[Callable[[], object]]:
        for event in events:
            for content in _contents_to_parse(event):
                yield partial(self._read, type_of(event), content)

    def _read(self, event_type: str, content: Event) -> None:
        parsed = read_message_content(event_type, content, self._identities)
        if parsed is not None and "@" in parsed.body:
            prose_of(parsed.body)

    def _is_echo(self, event: Event) -> bool:
        return MESSAGE_ID in content_of(event) and self._identities.is_ours(sender_of(event))


def bundled_edit(event: Event) -> Event:
    """Return the last edit, which Synapse bundles with a message of a room's history; an empty object without one."""
    return inner(inner(inner(event, "unsigned"), "m.relations"), "m.replace")


def _contents_to_parse(event: Event) -> Iterator[Event]:
    """Yield the contents that handling a message or an edit reads."""
    content = content_of(event)
    yield inner(content, "m.new_content") if replaced(content) else content
    if bundled := bundled_edit(event):
        yield inner(content_of(bundled), "m.new_content")
