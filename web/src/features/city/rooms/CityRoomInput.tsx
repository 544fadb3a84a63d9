import {
  useEffect,
  useEffectEvent,
  useLayoutEffect,
  useMemo,
  useId,
  useRef,
  useState,
  type ClipboardEvent,
  type KeyboardEvent,
} from "react";
import { useTranslation } from "../../../lib/i18n";
import type { Message, Room, RoomRemoval } from "../../../api/types";
import { lazyPart } from "../../../components/lazyPart";
import { Button } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { useThrottledValue } from "../../../hooks/useThrottledValue";
import { isComposing } from "../../../lib/keys";
import { useDirectChat } from "../../../hooks/useDirectChat";
import { useSession } from "../../../stores/session";
import { subjectOf } from "../../../lib/subjects";
import { withIds } from "../../../lib/mentions";
import { canRecord } from "../../voice/canRecord";
import { addRecentEmoji } from "../../emoji/recentEmojis";
import styles from "./CityRoomInput.module.css";
import { isUnfinishedCommand } from "./commands";
import { completed, type Candidate } from "./completion";
import { CompletionList, type CompletionKeys } from "./CompletionList";
import { About, Files } from "./ComposerParts";
import { ComposerTools, EmojiButton } from "./ComposerTools";
import { draftActions, useDraft, useDraftKey } from "./drafts";
import { DropTarget } from "./DropTarget";
import { OnMatrixLink } from "./OnMatrixLink";
import { PollDialog } from "./PollDialog";
import { useAttachments } from "./useAttachments";
import { useConversation, useConversationState, useRoom, useRoomState } from "./useRoom";
import { useMentionParam } from "./useMentionParam";
import { useTrigger } from "./useTrigger";

const MessagePreview = lazyPart(() => import("./MessagePreview"), null);
const VoiceRecorder = lazyPart(() => import("../../voice/VoiceRecorder"));

/**
 * Longer texts are shown in the font of the system. The font of the pages has Cyrillic letters and spaces in different files, and
 * Chromium then takes seconds to lay out 20,000 characters, after each key.
 */
const MAX_SHAPED_CHARS = 4_000;

/** The interval of updating a preview while its text is written. */
const PREVIEW_EVERY_MS = 600;

/** The composer of a room, or a button to sign in first. */
export function CityRoomInput({ room }: { room: Room }) {
  const { t } = useTranslation();
  const { session, setSignInOpen: ask } = useSession();
  const draft = useDraftKey();
  const removal = useRoomState((state) => state.removal);
  const chat = useDirectChat(room.id);
  if (room.archived || room.encrypted) return null;
  if (session && removal) return <Removed removal={removal} />;
  if (chat?.read_only === "not_invited")
    return (
      <div className={styles.invite} role="status">
        <p>{t("room.chatReadOnly")}</p>
        {chat.matrix_room_id !== null && <OnMatrixLink roomId={chat.matrix_room_id} />}
      </div>
    );
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

/** The notice in place of the composer for a reader who was kicked or banned. */
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
  const isDirect = useDirectChat(useRoomState((state) => state.room?.id)) !== undefined;
  const placeholder = isThread
    ? t("thread.inputLabel")
    : isDirect
      ? t("room.directPlaceholder", { name: roomName })
      : t("room.inputPlaceholder", { room: roomName });
  const { replyTo, editing, text: newText, mentions } = useDraft(draft);
  const { write, edit, clear, sent, mention } = useMemo(() => draftActions(draft), [draft]);
  const text = editing ? editing.text : newText;
  const files = useAttachments(draft);
  const field = useRef<HTMLTextAreaElement>(null);
  const [isPolling, setPolling] = useState(false);
  const [isPreview, setPreview] = useState(false);
  const [isRecording, setRecording] = useState(false);
  /** The number of files whose upload the reader's Enter waits for. */
  const [waitingFiles, setWaitingFiles] = useState(0);
  const me = useSession((state) => state.session?.userId ?? null);
  const lastOwn = useLastOwn();
  const hasText = text.trim() !== "";
  const isReady = hasText ? editing !== null || !isUnfinishedCommand(text) : files.chosen.length > 0 && !editing;
  useMentionParam(draft, field, !isThread);
  useEffect(() => {
    // On a touch screen, the keyboard would cover the messages.
    if (isThread && !matchMedia("(pointer: coarse)").matches) field.current?.focus();
  }, [isThread]);

  const about: Message | null = editing?.message ?? replyTo;
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
  // The caret moves in a layout effect: in a later frame it would move while a fast typist types on.
  const wantedCaret = useRef<number | null>(null);
  useLayoutEffect(() => {
    if (wantedCaret.current !== null) field.current?.setSelectionRange(wantedCaret.current, wantedCaret.current);
    wantedCaret.current = null;
  });
  const { trigger, look, close: closeCompletion, reset: resetCompletion } = useTrigger(field);
  const completion = useRef<CompletionKeys>(null);
  const completionId = useId();
  const [activeId, setActiveId] = useState<string | null>(null);
  const complete = (candidate: Candidate) => {
    if (!trigger) return;
    const { insert, target } = candidate;
    // Another person of the same name is mentioned already: insert this one's Matrix user id.
    const isTaken = target !== undefined && (mentions[insert] ?? target) !== target;
    const { text: next, caret } = completed(text, trigger, isTaken ? { ...candidate, insert: target } : candidate);
    if (target !== undefined && !isTaken) mention(insert, target);
    change(next);
    closeCompletion();
    wantedCaret.current = caret;
  };
  const drop = (words: string) => {
    change(text ? `${text} ${words}` : words);
    field.current?.focus();
  };
  const insert = (emoji: string) => {
    addRecentEmoji(me, emoji);
    const { selectionStart: from, selectionEnd: upTo } = field.current ?? {
      selectionStart: text.length,
      selectionEnd: text.length,
    };
    change(text.slice(0, from) + emoji + text.slice(upTo));
    field.current?.focus();
    wantedCaret.current = from + emoji.length;
  };
  const addFile = useEffectEvent((file: File) => files.add([file]));
  useEffect(() => room.listenForFiles((file) => addFile(file)), [room]);
  /** The text is sent with the first file. */
  const say = (body: string): boolean => {
    const [first, ...others] = files.chosen;
    if (!room.send(body, replyTo?.id ?? null, first ?? null)) return false;
    return others.every((other) => room.send("", null, other));
  };
  /** Send the message or edit. The field keeps a text that the outbox does not accept. */
  const submit = () => {
    const body = withIds(text.trim(), mentions);
    if (!isReady) return;
    if (files.isUploading && !editing) {
      setWaitingFiles(files.chosen.length);
      return;
    }
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
  const isWaiting = waitingFiles > 0 && !editing;
  const submitUploaded = useEffectEvent(() => {
    setWaitingFiles(0);
    // A file that was removed, or that the city refused, changes the message: its author sends it again.
    if (files.chosen.length === waitingFiles) submit();
  });
  useEffect(() => {
    if (waitingFiles > 0 && !files.isUploading) queueMicrotask(() => submitUploaded());
  }, [waitingFiles, files.isUploading]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (isComposing(event)) return;
    if (trigger && completion.current?.press(event)) {
      event.preventDefault();
      // Escape closes only the completion list.
      event.stopPropagation();
      return;
    }
    const isTouch = matchMedia("(pointer: coarse)").matches;
    if (event.key === "Enter" && !event.shiftKey && !isTouch) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape") {
      // In a thread, the next Escape closes the panel.
      if (about) event.stopPropagation();
      clear();
    } else if (event.key === "ArrowUp" && text === "" && lastOwn) {
      event.preventDefault();
      edit(lastOwn);
    }
  };
  const onPaste = (event: ClipboardEvent<HTMLTextAreaElement>) => {
    if (hasFilesOnly(event.clipboardData)) {
      event.preventDefault();
      files.add(event.clipboardData.files);
      return;
    }
    const { selectionStart, selectionEnd } = event.currentTarget;
    const pasted = event.clipboardData.getData("text/plain").length;
    const isLong = text.length - (selectionEnd - selectionStart) + pasted > MAX_SHAPED_CHARS;
    // Before the browser lays the text out: the next render is too late.
    if (isLong && styles.plain) field.current?.classList.add(styles.plain);
  };

  return (
    <>
      {/* The dialog has a form of its own, and forms cannot be nested. */}
      {isPolling && <PollDialog onClose={() => setPolling(false)} />}
      <DropTarget isThread={isThread} onFiles={files.add} onText={drop} />
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
        {isPreview && hasText && <Preview text={withIds(text, mentions)} />}
        {isRecording && (
          <VoiceRecorder
            onSend={({ file, voice }) => {
              if (!room.send("", replyTo?.id ?? null, { file, media: null, voice })) return false;
              clear();
              return true;
            }}
            onDone={() => {
              setRecording(false);
              requestAnimationFrame(() => field.current?.focus());
            }}
          />
        )}
        <div className={styles.line} hidden={isRecording}>
          <ComposerTools
            isAbout={about !== null}
            isNarrow={isThread}
            isPreview={hasText ? isPreview : null}
            onFiles={files.add}
            onPoll={() => setPolling(true)}
            onPreview={() => setPreview(!isPreview)}
            onRecord={!editing && canRecord() ? () => setRecording(true) : undefined}
          />
          <div className={styles.field}>
            <textarea
              ref={field}
              dir="auto"
              className={`${styles.text} ${text.length > MAX_SHAPED_CHARS ? styles.plain : ""}`}
              rows={1}
              value={text}
              aria-label={isThread ? t("thread.inputLabel") : t("room.inputLabel", { room: roomName })}
              placeholder={placeholder}
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
            {/* Browsers cut the placeholder of a textarea off without an ellipsis. */}
            <span className={styles.placeholder} aria-hidden="true">
              <bdi>{placeholder}</bdi>
            </span>
          </div>
          <EmojiButton onChoose={insert} />
          <Button
            variant="main"
            type="submit"
            className={styles.send ?? ""}
            aria-label={t(isWaiting ? "room.sending" : editing ? "room.save" : "room.send")}
            disabled={!isReady || isWaiting}
          >
            <Icon name={isWaiting ? "clock" : editing ? "check" : "send"} />
          </Button>
        </div>
      </form>
    </>
  );
}

function Preview({ text }: { text: string }) {
  return <MessagePreview body={useThrottledValue(text, PREVIEW_EVERY_MS)} />;
}

/** Spreadsheets copy a picture of the cells beside their text: then the text is pasted. */
function hasFilesOnly({ files, types }: DataTransfer): boolean {
  return files.length > 0 && !(types.includes("text/plain") && types.includes("text/html"));
}

/** The reader's last message that can be edited: ↑ in an empty field takes it. */
function useLastOwn(): Message | undefined {
  const me = useSession((state) => state.subject);
  const conversation = useConversation();
  return useConversationState(({ timeline }) =>
    timeline.messages.findLast((message) => conversation.shows(message) && !message.deleted && subjectOf(message.author) === me),
  );
}
