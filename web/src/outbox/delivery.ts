import { city } from "../api/city";
import type { Media, Message } from "../api/types";
import { upload } from "../api/upload";
import type { Entry } from "./entry";

/**
 * Send one entry with its author's token. Its file is uploaded first, and `uploaded` stores the result.
 *
 * Returns the message as the city has it now. Raises Problem.
 */
export async function deliver(entry: Entry, token: string, uploaded: (media: Media) => Promise<void>): Promise<Message> {
  const { id, room, action } = entry;
  switch (action.kind) {
    case "message": {
      const media = action.media ?? (action.file && (await uploadFile(action.file, token, uploaded)));
      const { body, replyTo, threadRoot = null, msgtype, voice } = action;
      const request = {
        body,
        client_id: id,
        reply_to: replyTo,
        ...(threadRoot === null ? {} : { thread_root: threadRoot }),
        ...(media ? { media: media.mxc } : {}),
        ...(media && voice ? { voice } : {}),
        ...(msgtype ? { msgtype } : {}),
      };
      return city.sendMessage(room.id, request, token);
    }
    case "edit":
      return city.edit(room.id, action.messageId, action.body, token);
    case "reaction":
      return city.react(room.id, action.messageId, action.emoji, action.given, token);
    case "removal":
      return city.remove(room.id, action.messageId, token);
  }
}

async function uploadFile(file: File, token: string, uploaded: (media: Media) => Promise<void>): Promise<Media> {
  const media = await upload(file, () => undefined, new AbortController().signal, token);
  await uploaded(media);
  return media;
}
