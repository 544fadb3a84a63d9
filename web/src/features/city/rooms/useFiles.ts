import { useEffect, useRef, useState } from "react";
import { upload } from "../../../api/upload";
import type { Media } from "../../../api/types";
import { newId } from "../../../lib/ids";
import { useRoom } from "./useRoom";

/** A file that is to be sent. */
export interface Chosen {
  id: string;
  file: File;
  /** An address of this page's own; null for what is no picture. */
  preview: string | null;
  /** How much of it has left, from 0 to 1. */
  part: number;
  /** What the city made of it, once it is there. */
  media: Media | null;
}

/** Files for the next message: they go to the city as soon as they are chosen. */
export function useFiles() {
  const room = useRoom();
  const [chosen, setChosen] = useState<readonly Chosen[]>([]);
  const uploads = useRef(new Map<string, AbortController>());

  const change = (id: string, changes: Partial<Chosen>) =>
    setChosen((now) => now.map((one) => (one.id === id ? { ...one, ...changes } : one)));

  const remove = (id: string) => {
    uploads.current.get(id)?.abort();
    uploads.current.delete(id);
    setChosen((now) => {
      for (const { preview } of now.filter((one) => one.id === id)) if (preview) URL.revokeObjectURL(preview);
      return now.filter((one) => one.id !== id);
    });
  };

  const bring = async ({ id, file }: Chosen) => {
    const abort = new AbortController();
    uploads.current.set(id, abort);
    try {
      change(id, { media: await upload(file, (part) => change(id, { part }), abort.signal), part: 1 });
    } catch (problem) {
      remove(id);
      if (!abort.signal.aborted) room.report(problem);
    }
  };

  const add = (files: Iterable<File>) => {
    room.clearProblem();
    const added = Array.from(files, (file) => ({ id: newId(), file, preview: previewOf(file), part: 0, media: null }));
    setChosen((now) => [...now, ...added]);
    for (const one of added) void bring(one);
  };

  useEffect(() => {
    const running = uploads.current;
    return () => {
      for (const abort of running.values()) abort.abort();
    };
  }, []);

  const clear = () => {
    for (const { id } of chosen) remove(id);
  };
  return { chosen, add, remove, clear, isUploading: chosen.some(({ media }) => !media) };
}

function previewOf(file: File): string | null {
  return file.type.startsWith("image/") ? URL.createObjectURL(file) : null;
}
