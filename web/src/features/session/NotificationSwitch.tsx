import { useState } from "react";
import { Button } from "../../components/ui/Button";
import { Icon } from "../../components/ui/Icon";
import { useTranslation } from "../../lib/i18n";
import { allowNotifications, hasNotifications, hasPush, mayNotify, wantsPush } from "../../lib/notifications";
import styles from "./Account.module.css";

/** The switch for notifications of mentions and direct chats while the page is hidden: only if the reader allows them. */
export function NotificationSwitch() {
  const { t } = useTranslation();
  const [isOn, setOn] = useState(mayNotify);
  if (!hasNotifications()) return null;
  if (Notification.permission === "denied") return <p className={styles.who}>{t("notifications.denied")}</p>;
  const change = async () => {
    if (isOn && wantsPush()) await endPush();
    setOn(await allowNotifications(!isOn));
  };
  return (
    <>
      <Button variant="bare" onClick={() => void change()}>
        <Icon name={isOn ? "mute" : "bell"} /> {t(isOn ? "notifications.off" : "notifications.allow")}
      </Button>
      {isOn && hasPush() && <PushSwitch />}
    </>
  );
}

/** The switch for notifications while no page of the city is open. */
function PushSwitch() {
  const { t, language } = useTranslation();
  const [isOn, setOn] = useState(wantsPush);
  const [isFailed, setFailed] = useState(false);
  const change = async () => {
    try {
      const { subscribeToPush } = await import("../../lib/push");
      if (isOn) await endPush();
      const isSubscribed = !isOn && (await subscribeToPush(language));
      setOn(isSubscribed);
      setFailed(!isOn && !isSubscribed);
    } catch {
      setFailed(true);
    }
  };
  return (
    <>
      <Button variant="bare" onClick={() => void change()}>
        <Icon name={isOn ? "mute" : "bell"} /> {t(isOn ? "notifications.pushOff" : "notifications.push")}
      </Button>
      <p role="status" className={isFailed ? styles.who : ""}>
        {isFailed && t("notifications.pushFailed")}
      </p>
    </>
  );
}

async function endPush(): Promise<void> {
  const { unsubscribeFromPush } = await import("../../lib/push");
  await unsubscribeFromPush();
}
