import { useEffect, useRef, useState, type ClipboardEvent, type KeyboardEvent } from "react";
import { useTranslation } from "react-i18next";
import { useSearchParams } from "react-router";
import type { Message, Room } from "../../../api/types";
import { Button, IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { useSession } from "../../../stores/session";
import { Name } from "../../../components/ui/Name";
import styles from "./CityRoomInput.module.css";
import { draftOf, keepDraft, useComposer } from "./composer";
import { useFiles, type Chosen } from "./useFiles";
import { useRoom, useRoomState } from "./useRoom";

/** Saying something in a room, or an invitation to sign in first. */
export function CityRoomInput({ room, slug }: { room: Room; slug: string }) {
  const { t } = useTranslation();
  const { session, ask } = useSession();
  if (room.archived || room.encrypted) return null;
  if (session) return <Input roomName={room.name} slug={slug} />;
  return (
    <div className={styles.invite}>
      <p>{t("room.signInToWrite")}</p>
      <Button look="main" onClick={() => ask(true)}>
        {t("session.signIn")}
      </Button>
    </div>
  );
}

function Input({ roomName, slug }: { roomName: string; slug: string }) {
  const { t } = useTranslation();
  const room = useRoom();
  const { replyTo, editing, edit, clear } = useComposer();
  const [text, setText] = useDraft(slug);
  const files = useFiles();
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const lastOwn = useLastOwn();
  const isReady = text.trim() !== "" || (files.chosen.length > 0 && !editing);

  useEffect(() => {
    if (editing || replyTo) field.current?.focus();
  }, [editing, replyTo]);
  useEffect(() => () => room.type(false), [room]);
  const [editedId, setEditedId] = useState<string | null>(null);
  if ((editing?.id ?? null) !== editedId) {
    setEditedId(editing?.id ?? null);
    setText(editing ? editing.body : draftOf(slug), editing === null);
  }

  const change = (value: string) => {
    setText(value, editing === null);
    room.type(value.trim() !== "");
  };
  const submit = () => {
    const body = text.trim();
    if (!isReady || files.isUploading) return;
    if (editing) {
      void room.edit(editing, body);
    } else {
      say(body);
      setText("", true);
      files.clear();
    }
    room.type(false);
    clear();
    field.current?.focus();
  };
  /** The words go with the first file. */
  const say = (body: string) => {
    const [first, ...others] = files.chosen.flatMap(({ media }) => media ?? []);
    room.say(body, replyTo?.id ?? null, first ?? null);
    for (const media of others) room.say("", null, media);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    const isTouch = matchMedia("(pointer: coarse)").matches;
    if (event.key === "Enter" && !event.shiftKey && !isTouch) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape") {
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
    // Dropping a file is a short cut for the mouse; the button beside the field is for everybody.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <form
      className={styles.form}
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        files.add(event.dataTransfer.files);
      }}
    >
      {(editing ?? replyTo) && <About replyTo={replyTo} onClose={clear} />}
      <Files chosen={files.chosen} onRemove={files.remove} />
      <div className={styles.line}>
        <IconButton icon="clip" label={t("room.attach")} onClick={() => picker.current?.click()} />
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
          aria-label={t("room.inputLabel", { room: roomName })}
          placeholder={t("room.inputPlaceholder", { room: roomName })}
          title={t("room.inputHint")}
          onChange={({ target }) => change(target.value)}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
          onBlur={() => room.type(false)}
        />
        <Button
          look="main"
          type="submit"
          className={styles.send ?? ""}
          aria-label={t(editing ? "room.save" : "room.send")}
          disabled={!isReady || files.isUploading}
        >
          <Icon name={editing ? "check" : "send"} />
        </Button>
      </div>
    </form>
  );
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
        <bdi>{replyTo?.body}</bdi>
      </p>
      <IconButton icon="close" label={t("common.cancel")} onClick={onClose} />
    </div>
  );
}

function Files({ chosen, onRemove }: { chosen: readonly Chosen[]; onRemove: (id: string) => void }) {
  const { t } = useTranslation();
  if (!chosen.length) return null;
  return (
    <ul className={styles.files}>
      {chosen.map(({ id, file, preview, part, media }) => (
        <li key={id} className={styles.file}>
          {preview ? <img src={preview} alt="" /> : <Icon name="file" />}
          <span><Name>{file.name}</Name></span>
          <IconButton icon="close" label={t("room.removeFile", { name: file.name })} onClick={() => onRemove(id)} />
          {!media && (
            <progress value={part} aria-label={t("room.uploading", { name: file.name, percent: Math.round(part * 100) })} />
          )}
        </li>
      ))}
    </ul>
  );
}

/** What is typed is kept until it is said. Who comes from an agent's page begins with its name. */
function useDraft(slug: string): [string, (text: string, isKept: boolean) => void] {
  const [search] = useSearchParams();
  const mention = search.get("mention");
  const [text, setText] = useState(() => draftOf(slug) || (mention ? `@${mention} ` : ""));
  return [
    text,
    (next, isKept) => {
      setText(next);
      if (isKept) keepDraft(slug, next);
    },
  ];
}

/** The last message of one's own that can be changed: ↑ in an empty field takes it. */
function useLastOwn(): Message | undefined {
  const me = useSession((state) => state.session?.userId);
  return useRoomState(({ timeline }) =>
    timeline.messages.findLast(({ author, deleted }) => author.kind === "citizen" && author.id === me && !deleted),
  );
}
