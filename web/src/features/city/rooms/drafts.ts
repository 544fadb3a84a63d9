import { useEffect, useMemo } from "react";
import { create } from "zustand";
import type { Message, SubjectId } from "../../../api/types";
import { setLocalItem, getLocalItem } from "../../../lib/storage";
import type { Entry } from "../../../outbox/entry";
import { withIds, withNames, type Mentions } from "../../../lib/mentions";
import { outbox } from "../../../stores/outbox";
import { useProfiles } from "../../../stores/profiles";
import { useSession } from "../../../stores/session";
import { useConversation } from "./useRoom";

/** The unsent text, reply or edit of a conversation. */
export interface Draft {
  text: string;
  replyTo: Message | null;
  /** The message that is being edited, and its new text; `text` is kept meanwhile. */
  editing: { message: Message; text: string } | null;
  /** The ids that replace names in the text when it is sent. */
  mentions: Mentions;
}

const NOTHING: Draft = { text: "", replyTo: null, editing: null, mentions: {} };
const KEY = "city.draft.";

/** The key of a draft: its author, its room and the root of its thread, if any; "" stands for a visitor. */
export function draftKey(person: SubjectId | null, slug: string, threadRoot: string | null = null): string {
  return `${person ?? ""}.${slug}${threadRoot === null ? "" : `.${threadRoot}`}`;
}

interface DraftsState {
  drafts: Readonly<Record<string, Draft>>;
  change: (key: string, changes: Partial<Draft>) => void;
}

/** Drafts by person and room, stored until the person comes back: after signing in again, or the next day. */
export const useDrafts = create<DraftsState>((set) => ({
  drafts: {},
  change: (key, changes) =>
    set(({ drafts }) => {
      const draft = { ...(drafts[key] ?? storedDraft(key)), ...changes };
      setLocalItem(KEY + key, isEmpty(draft) ? null : JSON.stringify(draft));
      return { drafts: { ...drafts, [key]: draft } };
    }),
}));

function isEmpty({ text, replyTo, editing }: Draft): boolean {
  return text === "" && replyTo === null && editing === null;
}

function storedDraft(key: string): Draft {
  try {
    const found: unknown = JSON.parse(getLocalItem(KEY + key) ?? "null");
    return typeof found === "object" && found !== null ? { ...NOTHING, ...found } : NOTHING;
  } catch {
    return NOTHING;
  }
}

export function draftOf(key: string): Draft {
  return useDrafts.getState().drafts[key] ?? storedDraft(key);
}

/** The key of the reader's draft in the open conversation. */
export function useDraftKey(): string {
  const { name, threadRoot } = useConversation();
  const me = useSession((state) => state.session?.userId ?? null);
  return draftKey(me, name, threadRoot);
}

export function useDraft(key: string): Draft {
  const draft = useDrafts((state) => state.drafts[key]);
  const shown = useMemo(() => draft ?? storedDraft(key), [draft, key]);
  // `clearSentDraft` compares the draft that is shown, whatever other tabs store meanwhile.
  useEffect(() => {
    useDrafts.setState(({ drafts }) => (drafts[key] ? {} : { drafts: { ...drafts, [key]: shown } }));
  }, [key, shown]);
  return shown;
}

/** Clear this tab's draft of an entry that another tab has sent; a draft with another text stays. */
export function clearSentDraft(entry: Entry): void {
  const { action } = entry;
  const { drafts, change } = useDrafts.getState();
  for (const [key, draft] of Object.entries(drafts)) {
    if (!isDraftOf(key, entry)) continue;
    if (action.kind === "message" && action.body !== "" && withIds(draft.text.trim(), draft.mentions) === action.body)
      change(key, { text: "", replyTo: null });
    const { editing } = draft;
    if (
      action.kind === "edit" &&
      editing?.message.id === action.messageId &&
      withIds(editing.text.trim(), draft.mentions) === action.body
    ) {
      change(key, { editing: null });
    }
  }
}

/** Whether a draft is in the conversation of an entry. An edit does not name the thread of its message. */
function isDraftOf(key: string, { owner, room, action }: Entry): boolean {
  const isIn = (name: string) =>
    action.kind === "message"
      ? key === draftKey(owner, name, action.threadRoot ?? null)
      : key === draftKey(owner, name) || key.startsWith(`${draftKey(owner, name)}.`);
  return isIn(room.slug) || isIn(room.id);
}

outbox.subscribe({ onAddedInOtherTab: clearSentDraft });

// What is written, discarded or put back in another tab is shown in this one, too: nobody writes in two at the same time.
addEventListener("storage", ({ key }) => {
  if (key !== null && !key.startsWith(KEY)) return;
  useDrafts.setState(({ drafts }) => ({
    drafts: Object.fromEntries(Object.entries(drafts).filter(([each]) => key !== null && key !== KEY + each)),
  }));
});

/** The actions of the composer: a new message, a reply or an edit. */
export function draftActions(key: string) {
  const { change } = useDrafts.getState();
  return {
    write: (text: string) => {
      const { editing } = draftOf(key);
      change(key, editing ? { editing: { ...editing, text } } : { text });
    },
    reply: (message: Message) => change(key, { replyTo: message, editing: null }),
    /** The field shows people's names in place of their Matrix user ids. */
    edit: (message: Message, body = message.body) => {
      const { text, mentions } = withNames(body, useProfiles.getState().profiles);
      change(key, { editing: { message, text }, replyTo: null, mentions: { ...draftOf(key).mentions, ...mentions } });
    },
    /** Send `target` in place of `written` from now on. */
    mention: (written: string, target: string) => change(key, { mentions: { ...draftOf(key).mentions, [written]: target } }),
    /** Cancel the reply or edit. */
    clear: () => change(key, { replyTo: null, editing: null }),
    /** Empty the draft after all of it was sent. */
    sent: () => change(key, draftOf(key).editing ? { editing: null } : NOTHING),
    /** Put a text back, after the text that was written meanwhile. */
    putBack: (body: string) => {
      const { text: now, mentions: known } = draftOf(key);
      const { text, mentions } = withNames(body, useProfiles.getState().profiles);
      change(key, { text: now && text ? `${now}\n${text}` : now + text, mentions: { ...known, ...mentions } });
    },
  };
}
