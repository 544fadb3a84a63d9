import { useEffect, useRef, useState } from "react";
import { Problem } from "../../../api/problem";
import { upload } from "../../../api/upload";
import type { Media } from "../../../api/types";
import { newId } from "../../../lib/ids";
import { attachmentStorage } from "../../../outbox/storage";
import { useSession } from "../../../stores/session";
import { useConversation } from "./useRoom";

/** A file of the next message. */
export interface Attachment {
  id: string;
  file: File;
  /** The progress of the upload, from 0 to 1; null if the upload failed: the file is uploaded with its message. */
  progress: number | null;
  /** The uploaded file; null until it is uploaded. */
  media: Media | null;
}

/**
 * The files of the next message, which are uploaded as soon as they are chosen.
 *
 * They are part of the draft (`draft`: its key): stored across reloads, and restored when their author is back in the room.
 */
export function useAttachments(draft: string) {
  const room = useConversation();
  const [attachments, setChosen] = useState<readonly Attachment[]>([]);
  const uploads = useRef(new Map<string, AbortController>());

  const change = (id: string, changes: Partial<Attachment>) =>
    setChosen((now) => now.map((one) => (one.id === id ? { ...one, ...changes } : one)));

  const remove = (id: string) => {
    uploads.current.get(id)?.abort();
    uploads.current.delete(id);
    void attachmentStorage.remove(id).catch(() => undefined);
    setChosen((now) => now.filter((one) => one.id !== id));
  };

  const startUpload = async ({ id, file }: Attachment) => {
    const abort = new AbortController();
    uploads.current.set(id, abort);
    try {
      change(id, { media: await upload(file, (part) => change(id, { progress: part }), abort.signal), progress: 1 });
    } catch (problem) {
      if (abort.signal.aborted) return;
      const isLater = problem instanceof Problem && (problem.isTemporary || problem.status === 401);
      if (isLater) {
        change(id, { progress: null });
        return;
      }
      remove(id);
      room.report(problem);
    }
  };

  const show = (added: readonly Attachment[]) => {
    setChosen((now) => [...now, ...added.filter(({ id }) => now.every((one) => one.id !== id))]);
    for (const one of added) void startUpload(one);
  };

  const add = (files: Iterable<File>) => {
    room.clearProblem();
    const owner = useSession.getState().session?.userId ?? "";
    const added = Array.from(files, (file) => ({ id: newId(), ...fresh(file) }));
    for (const [index, { id, file }] of added.entries()) {
      const stored = attachmentStorage.put({ id, draft, owner, file, addedAt: Date.now() + index });
      stored.catch(() => room.report(new Problem(0, "storage_full", "the browser could not store the file")));
    }
    show(added);
  };

  // The component is mounted anew for each draft (`key`), so that files of another draft are not shown.
  useEffect(() => {
    const running = uploads.current;
    let isGone = false;
    void attachmentStorage.of(draft).then(
      (found) => {
        if (!isGone) show(found.map(({ id, file }) => ({ id, ...fresh(file) })));
      },
      () => undefined,
    );
    return () => {
      isGone = true;
      for (const abort of running.values()) abort.abort();
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [draft]);

  const clear = () => {
    for (const { id } of attachments) remove(id);
  };
  return {
    chosen: attachments,
    add,
    remove,
    clear,
    isUploading: attachments.some(({ media, progress: part }) => !media && part !== null),
  };
}

function fresh(file: File): Omit<Attachment, "id"> {
  return { file, progress: 0, media: null };
}
