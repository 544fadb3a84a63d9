import { useState } from "react";
import type { Message } from "../../../api/types";
import { Button, IconButton } from "../../../components/ui/Button";
import { ConfirmDialog, Dialog } from "../../../components/ui/Dialog";
import { Icon } from "../../../components/ui/Icon";
import { Menu } from "../../../components/ui/Menu";
import { useMediaQuery } from "../../../hooks/useMediaQuery";
import { useTranslation } from "../../../lib/i18n";
import { useSession } from "../../../stores/session";
import styles from "./MessageRow.module.css";
import { ReactionPicker } from "./ReactionPicker";
import { useMessageActions } from "./useMessageActions";
import { useConversation } from "./useRoom";

/** The media query for phones, which have no space for a row of buttons that a finger can press. */
const IS_PHONE = "(width < 760px) and (pointer: coarse)";

interface Props {
  message: Message;
  isMine: boolean;
}

/** The actions of a message: a toolbar beside it, or on a phone a sheet at the bottom. */
export function MessageActions(props: Props) {
  const { t } = useTranslation();
  const isPhone = useMediaQuery(IS_PHONE);
  const [isOpen, setOpen] = useState(false);
  if (!isPhone) return <Toolbar {...props} />;
  return (
    <div className={styles.actions}>
      <IconButton icon="more" label={t("room.actions")} data-sheet onClick={() => setOpen(true)} />
      {isOpen && <Sheet {...props} onClose={() => setOpen(false)} />}
    </div>
  );
}

function Toolbar({ message, isMine }: Props) {
  const { t } = useTranslation();
  const [isAsking, setAsking] = useState(false);
  const isSignedIn = useSession((state) => state.session !== null);
  const actions = useMessageActions(message, isMine, () => setAsking(true));
  return (
    <div className={styles.actions} role="group" aria-label={t("room.actions")}>
      {isSignedIn && (
        <Menu
          label={t("room.react")}
          button={(open) => <IconButton icon="smile" label={t("room.react")} data-code="KeyA" aria-keyshortcuts="A" {...open} />}
        >
          {(close) => <ReactionPicker message={message} onDone={close} />}
        </Menu>
      )}
      {actions.map(({ icon, label, code, run }) => (
        <IconButton
          key={code}
          icon={icon}
          label={label}
          data-code={code}
          aria-keyshortcuts={code?.replace("Key", "")}
          onClick={run}
        />
      ))}
      {isAsking && <RemoveDialog message={message} onClose={() => setAsking(false)} />}
    </div>
  );
}

function Sheet({ message, isMine, onClose }: Props & { onClose: () => void }) {
  const { t } = useTranslation();
  const [isAsking, setAsking] = useState(false);
  const isSignedIn = useSession((state) => state.session !== null);
  const actions = useMessageActions(message, isMine, () => setAsking(true));
  if (isAsking) return <RemoveDialog message={message} onClose={onClose} />;
  return (
    <Dialog title={t("room.actions")} look="sheet" onClose={onClose}>
      {isSignedIn && <ReactionPicker message={message} onDone={onClose} />}
      <ul className={styles.sheetActions}>
        {actions.map(({ icon, label, code, run, isDestructive, staysOpen }) => (
          <li key={code}>
            <Button
              variant="bare"
              onClick={() => {
                if (!isDestructive && !staysOpen) onClose();
                run();
              }}
            >
              <Icon name={icon} /> {label}
            </Button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

/** Asks before a message is deleted. */
export function RemoveDialog({ message, onClose }: { message: Message; onClose: () => void }) {
  const { t } = useTranslation();
  const room = useConversation();
  return (
    <ConfirmDialog
      title={t("room.removeAsk")}
      text={t("room.removeText")}
      action={t("room.remove")}
      onConfirm={() => room.remove(message)}
      onClose={onClose}
    />
  );
}
