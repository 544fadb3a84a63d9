import {
  useEffect,
  useEffectEvent,
  useMemo,
  useId,
  useRef,
  useState,
  type ClipboardEvent,
  type KeyboardEvent,
  type RefObject,
} from "react";
import { useTranslation } from "../../../lib/i18n";
import { useSearchParams } from "react-router";
import type { Message, Room, RoomRemoval } from "../../../api/types";
import { Button, IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { excerptOf } from "../../../lib/excerpt";
import { isComposing } from "../../../lib/keys";
import { listenForDrops } from "../../../lib/dragAndDrop";
import { useSession } from "../../../stores/session";
import { FilePicture } from "../../../components/ui/FilePicture";
import { Name } from "../../../components/ui/Name";
import { subjectOf } from "../../../lib/subjects";
import { withIds, withNames } from "../../../lib/mentions";
import { useProfiles } from "../../../stores/profiles";
import styles from "./CityRoomInput.module.css";
import { completed, triggerAt, type Candidate, type Trigger } from "./completion";
import { CompletionList, type CompletionKeys } from "./CompletionList";
import { draftActions, draftOf, useDraft, useDraftKey } from "./drafts";
import { PollDialog } from "./PollDialog";
import { useAttachments, type Attachment } from "./useAttachments";
import { useConversation, useConversationState, useRoom, useRoomState } from "./useRoom";

/** Saying something in a room, or an invitation to sign in first. */
export function CityRoomInput({ room }: { room: Room }) {
  const { t } = useTranslation();
  const { session, setSignInOpen: ask } = useSession();
  const draft = useDraftKey();
  const removal = useRoomState((state) => state.removal);
  if (room.archived || room.encrypted) return null;
  if (session && removal) return <Removed removal={removal} />;
  if (session) return <Input key={draft} roomName={room.name} draft={draft} />;
  return (
    <div className={styles.invite}>
      <p>{t("room.signInToWrite")}</p>
      <Button variant="main" onClick={() => ask(true)}>
        {t("session.signIn")}
      </Button>
    </div>
  );
}

/** What a person reads who was kicked or banned, in place of the composer. */
function Removed({ removal }: { removal: RoomRemoval }) {
  const { t } = useTranslation();
  const room = useRoom();
  return (
    <div className={styles.invite} role="status">
      <p>
        {t(`room.removal.${removal.kind}`)}
        {removal.reason && ` ${t("room.removal.reason", { reason: removal.reason })}`}
      </p>
      {removal.kind === "kicked" && (
        <Button variant="main" onClick={() => void room.join()}>
          {t("room.join")}
        </Button>
      )}
    </div>
  );
}

function Input({ roomName, draft }: { roomName: string; draft: string }) {
  const { t } = useTranslation();
  const room = useConversation();
  const isThread = room.threadRoot !== null;
  const { replyTo, editing, text: newText, mentions } = useDraft(draft);
  const { write, edit, clear, sent, mention } = useMemo(() => draftActions(draft), [draft]);
  const text = editing ? editing.text : newText;
  const files = useAttachments(draft);
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const [isPolling, setPolling] = useState(false);
  const lastOwn = useLastOwn();
  const isReady = text.trim() !== "" || (files.chosen.length > 0 && !editing);
  useMention(draft, field, !isThread);
  useEffect(() => {
    // On a touch screen a keyboard would cover what is to be read.
    if (isThread && !matchMedia("(pointer: coarse)").matches) field.current?.focus();
  }, [isThread]);

  const about = editing?.message ?? replyTo;
  const shownAbout = useRef(about);
  useEffect(() => {
    if (about && about !== shownAbout.current) field.current?.focus();
    shownAbout.current = about;
  }, [about]);
  useEffect(() => () => room.setTyping(false), [room]);

  const change = (value: string) => {
    write(value);
    room.setTyping(value.trim() !== "");
  };
  const { trigger, look, close: closeCompletion, reset: resetCompletion } = useTrigger(field);
  const completion = useRef<CompletionKeys>(null);
  const completionId = useId();
  const [activeId, setActiveId] = useState<string | null>(null);
  const complete = (candidate: Candidate) => {
    if (!trigger) return;
    const { insert, target } = candidate;
    // Somebody else of the same name is mentioned already: this one by id.
    const isTaken = target !== undefined && (mentions[insert] ?? target) !== target;
    const { text: next, caret } = completed(text, trigger, isTaken ? { ...candidate, insert: target } : candidate);
    if (target !== undefined && !isTaken) mention(insert, target);
    change(next);
    closeCompletion();
    requestAnimationFrame(() => field.current?.setSelectionRange(caret, caret));
  };
  const drop = useEffectEvent((words: string) => {
    change(text ? `${text} ${words}` : words);
    field.current?.focus();
  });
  const dropFiles = useEffectEvent(files.add);
  useEffect(() => room.listenForFiles((file) => dropFiles([file])), [room]);
  useEffect(
    () =>
      listenForDrops(
        (dropped) => dropFiles(dropped),
        (words) => drop(words),
        (target) => (target?.closest("[data-thread]") != null) === isThread,
      ),
    [isThread],
  );
  /** What the outbox does not take stays in the field. */
  const submit = () => {
    const body = withIds(text.trim(), mentions);
    if (!isReady || files.isUploading) return;
    if (editing) {
      if (body !== editing.message.body && !room.edit(editing.message, body)) return;
    } else {
      if (!say(body)) return;
      files.clear();
    }
    room.setTyping(false);
    sent();
    resetCompletion();
    field.current?.focus();
  };
  /** The words go with the first file. */
  const say = (body: string): boolean => {
    const [first, ...others] = files.chosen;
    if (!room.send(body, replyTo?.id ?? null, first ?? null)) return false;
    return others.every((other) => room.send("", null, other));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (isComposing(event)) return;
    if (trigger && completion.current?.press(event)) {
      event.preventDefault();
      // Escape closes the list alone.
      event.stopPropagation();
      return;
    }
    const isTouch = matchMedia("(pointer: coarse)").matches;
    if (event.key === "Enter" && !event.shiftKey && !isTouch) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape") {
      // In a thread the next Escape closes it.
      if (about) event.stopPropagation();
      clear();
    } else if (event.key === "ArrowUp" && text === "" && lastOwn) {
      event.preventDefault();
      edit(lastOwn);
    }
  };
  const onPaste = (event: ClipboardEvent) => {
    if (!hasFilesOnly(event.clipboardData)) return;
    event.preventDefault();
    files.add(event.clipboardData.files);
  };

  return (
    <>
      {/* It has a form of its own, and forms do not nest. */}
      {isPolling && <PollDialog onClose={() => setPolling(false)} />}
      <form
        className={styles.form}
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        {trigger && (
          <CompletionList
            id={completionId}
            ref={completion}
            trigger={trigger}
            onChoose={complete}
            onClose={closeCompletion}
            onActive={setActiveId}
          />
        )}
        {about && <About replyTo={replyTo} onClose={clear} />}
        <Files chosen={files.chosen} onRemove={files.remove} />
        <div className={styles.line}>
          <IconButton icon="clip" label={t("room.attach")} onClick={() => picker.current?.click()} />
          {!about && <IconButton icon="poll" label={t("poll.start")} onClick={() => setPolling(true)} />}
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            onChange={({ target }) => {
              if (target.files) files.add(target.files);
              target.value = "";
            }}
          />
          <textarea
            ref={field}
            dir="auto"
            className={styles.text}
            rows={1}
            value={text}
            aria-label={isThread ? t("thread.inputLabel") : t("room.inputLabel", { room: roomName })}
            placeholder={isThread ? t("thread.inputLabel") : t("room.inputPlaceholder", { room: roomName })}
            title={t("room.inputHint")}
            aria-autocomplete="list"
            aria-controls={activeId === null ? undefined : completionId}
            aria-activedescendant={activeId ?? undefined}
            onChange={({ target }) => {
              change(target.value);
              look();
            }}
            onSelect={look}
            onKeyDown={onKeyDown}
            onPaste={onPaste}
            onBlur={() => {
              room.setTyping(false);
              closeCompletion();
            }}
          />
          <Button
            variant="main"
            type="submit"
            className={styles.send ?? ""}
            aria-label={t(editing ? "room.save" : "room.send")}
            disabled={!isReady || files.isUploading}
          >
            <Icon name={editing ? "check" : "send"} />
          </Button>
        </div>
      </form>
    </>
  );
}

/** What is being written at the caret that can be completed. What was closed stays closed until another sign is written. */
function useTrigger(field: RefObject<HTMLTextAreaElement | null>) {
  const [trigger, setTrigger] = useState<Trigger | null>(null);
  const closedAt = useRef<number | null>(null);
  const look = () => {
    const shown = field.current;
    const isCaret = shown !== null && shown.selectionStart === shown.selectionEnd;
    const found = isCaret ? triggerAt(shown.value, shown.selectionStart) : null;
    if (found?.start !== closedAt.current) closedAt.current = null;
    const isSame = found?.start === trigger?.start && found?.query === trigger?.query && found?.sign === trigger?.sign;
    if (!isSame) setTrigger(closedAt.current === null ? found : null);
  };
  const close = () => {
    closedAt.current = trigger?.start ?? null;
    setTrigger(null);
  };
  /** After a message is sent, the next one may begin with the same sign. */
  const reset = () => {
    closedAt.current = null;
    setTrigger(null);
  };
  return { trigger, look, close, reset };
}

/** A spreadsheet puts a picture of its cells beside their text: then the text is meant. */
function hasFilesOnly({ files, types }: DataTransfer): boolean {
  return files.length > 0 && !(types.includes("text/plain") && types.includes("text/html"));
}

function About({ replyTo, onClose }: { replyTo: Message | null; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <div className={styles.about}>
      <p dir="auto">
        <strong>{replyTo ? t("room.replyTo", { name: replyTo.author.display_name }) : t("room.editing")}</strong>{" "}
        <bdi>{replyTo && excerptOf(replyTo)}</bdi>
      </p>
      <IconButton icon="close" label={t("common.cancel")} onClick={onClose} />
    </div>
  );
}

function Files({ chosen, onRemove }: { chosen: readonly Attachment[]; onRemove: (id: string) => void }) {
  const { t } = useTranslation();
  if (!chosen.length) return null;
  return (
    <ul className={styles.files}>
      {chosen.map(({ id, file, progress: part, media }) => (
        <li key={id} className={styles.file}>
          <FilePicture file={file} />
          <span>
            <Name>{file.name}</Name>
          </span>
          <IconButton icon="close" label={t("room.removeFile", { name: file.name })} onClick={() => onRemove(id)} />
          {!media && part === null && <small>{t("room.fileWaits")}</small>}
          {!media && part !== null && (
            <progress value={part} aria-label={t("room.uploading", { name: file.name, percent: Math.round(part * 100) })} />
          )}
        </li>
      ))}
    </ul>
  );
}

/** Who comes from an agent's page begins with its name, once: the address forgets it. */
function useMention(draft: string, field: RefObject<HTMLTextAreaElement | null>, isRoom: boolean): void {
  const [search, setSearch] = useSearchParams();
  const mention = isRoom ? search.get("mention") : null;
  useEffect(() => {
    if (mention === null) return;
    const { text, editing } = draftOf(draft);
    const { text: name, mentions } = withNames(`@${mention}`, useProfiles.getState().profiles);
    if (!editing && !text.includes(name)) {
      const { write, mention: stand } = draftActions(draft);
      for (const [written, target] of Object.entries(mentions)) stand(written, target);
      write(text ? `${text.trimEnd()} ${name} ` : `${name} `);
    }
    field.current?.focus();
    setSearch(
      (now) => {
        now.delete("mention");
        return now;
      },
      { replace: true },
    );
  }, [draft, field, mention, setSearch]);
}

/** The last message of one's own that can be changed: ↑ in an empty field takes it. */
function useLastOwn(): Message | undefined {
  const me = useSession((state) => state.subject);
  const conversation = useConversation();
  return useConversationState(({ timeline }) =>
    timeline.messages.findLast((message) => conversation.shows(message) && !message.deleted && subjectOf(message.author) === me),
  );
}
