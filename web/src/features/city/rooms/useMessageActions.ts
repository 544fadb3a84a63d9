import { useState } from "react";
import type { Message } from "../../../api/types";
import type { IconName } from "../../../components/ui/Icon";
import { useTranslation } from "../../../lib/i18n";
import { messagePath } from "../../../lib/paths";
import { useSession } from "../../../stores/session";
import { draftActions, useDraftKey } from "./drafts";
import { usePin } from "./usePins";
import { useConversation, useRoom, useRoomState } from "./useRoom";
import { useThreadPanel } from "./useThreadPanel";

/** How long a button shows that it has copied. */
const COPIED_MS = 2_000;

export interface MessageAction {
  icon: IconName;
  label: string;
  /** `KeyboardEvent.code` of the key that runs the action while the message has the focus. */
  code?: string;
  run: () => void;
  /** Whether it opens a dialog of the message, which needs the list of actions to stay open. */
  isDestructive?: boolean;
  /** Whether the list of actions stays open, as the button shows the result. */
  staysOpen?: boolean;
}

/** What the reader can do with a message, beside a reaction; `onRemove` asks before the message is deleted. */
export function useMessageActions(message: Message, isMine: boolean, onRemove: () => void): MessageAction[] {
  const { t } = useTranslation();
  const conversation = useConversation();
  const isSignedIn = useSession((state) => state.session !== null);
  const { reply, edit } = draftActions(useDraftKey());
  const { open } = useThreadPanel();
  const copyLink = useCopyLink(message.id);
  const pin = usePinAction(message);
  const mayDelete = useRoomState(({ rights }) => rights?.delete_messages === true);
  if (!isSignedIn) return copyLink;
  return [
    { icon: "reply", label: t("room.reply"), code: "KeyR", run: () => reply(message) },
    ...(conversation.threadRoot === null
      ? [{ icon: "thread", label: t("room.replyInThread"), code: "KeyT", run: () => open(message.id) } as const]
      : []),
    ...(isMine && !message.poll
      ? [{ icon: "pencil", label: t("room.edit"), code: "KeyE", run: () => edit(message) } as const]
      : []),
    ...copyLink,
    ...pin,
    ...(isMine || mayDelete
      ? [{ icon: "bin", label: t("room.remove"), code: "Delete", run: onRemove, isDestructive: true } as const]
      : []),
  ];
}

/** The pin action of moderators; a message that is not on Matrix yet cannot be pinned. */
function usePinAction(message: Message): MessageAction[] {
  const { t } = useTranslation();
  const conversation = useConversation();
  const mayPin = useRoomState(({ rights }) => rights?.pin === true);
  const { isPinned, setPinned } = usePin(message.id);
  if (!mayPin || (message.delivery !== "sent" && !isPinned)) return [];
  const run = () => void setPinned(!isPinned).catch((problem: unknown) => conversation.report(problem));
  return [{ icon: "tack", label: t(isPinned ? "pins.unpin" : "pins.pin"), code: "KeyP", run }];
}

/** The action that copies a link. Browsers have no clipboard on pages without TLS: then there is no action. */
function useCopyLink(messageId: string): MessageAction[] {
  const { t } = useTranslation();
  const { name } = useRoom();
  const [isCopied, setCopied] = useState(false);
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (!clipboard) return [];
  const run = () =>
    void clipboard.writeText(location.origin + messagePath(name, messageId)).then(
      () => {
        setCopied(true);
        setTimeout(() => setCopied(false), COPIED_MS);
      },
      () => undefined,
    );
  return [
    {
      icon: isCopied ? "check" : "link",
      label: t(isCopied ? "room.linkCopied" : "room.copyLink"),
      code: "KeyL",
      run,
      staysOpen: true,
    },
  ];
}
