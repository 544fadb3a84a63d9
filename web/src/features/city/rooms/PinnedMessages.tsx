import { useState } from "react";
import { useNavigate } from "react-router";
import type { Message } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Name } from "../../../components/ui/Name";
import { excerptOf } from "../../../lib/excerpt";
import { useTranslation } from "../../../lib/i18n";
import { messagePath } from "../../../lib/paths";
import styles from "./PinnedMessages.module.css";
import { usePin, usePins } from "./usePins";
import { useRoom, useRoomState } from "./useRoom";

/** The pinned messages above the conversation: the newest pin in one line, and all of them in a list. */
export function PinnedMessages() {
  const { t } = useTranslation();
  const pins = usePins();
  const [showsAll, setShowsAll] = useState(false);
  const [newest] = pins;
  if (!newest) return null;
  return (
    <section className={styles.pins} aria-label={t("pins.title")}>
      <div className={styles.line}>
        <Icon name="tack" size={18} />
        <Pinned message={newest} />
        {pins.length > 1 && (
          <button type="button" className={styles.all} aria-expanded={showsAll} onClick={() => setShowsAll(!showsAll)}>
            {showsAll ? t("pins.less") : t("pins.all", { count: pins.length })}
          </button>
        )}
        <Unpin message={newest} />
      </div>
      {showsAll && pins.length > 1 && (
        <ul className={styles.list}>
          {pins.slice(1).map((message) => (
            <li key={message.id} className={styles.line}>
              <Pinned message={message} />
              <Unpin message={message} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** A pinned message in one line, with a link to its place in the timeline. */
function Pinned({ message }: { message: Message }) {
  const { t } = useTranslation();
  const { name } = useRoom();
  const navigate = useNavigate();
  return (
    <button
      type="button"
      className={styles.message}
      title={t("pins.jump")}
      // `shownAt` shows the message again if the URL names it already.
      onClick={() => void navigate(messagePath(name, message.id), { replace: true, state: { shownAt: Date.now() } })}
    >
      <strong>
        <Name>{message.author.display_name}</Name>
      </strong>{" "}
      <bdi>{excerptOf(message)}</bdi>
    </button>
  );
}

function Unpin({ message }: { message: Message }) {
  const { t } = useTranslation();
  const room = useRoom();
  const mayPin = useRoomState(({ rights }) => rights?.pin === true);
  const { setPinned } = usePin(message.id);
  if (!mayPin) return null;
  return (
    <IconButton
      icon="close"
      label={t("pins.unpin")}
      onClick={() => void setPinned(false).catch((problem: unknown) => room.report(problem))}
    />
  );
}
