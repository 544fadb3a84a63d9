import { useMutation } from "@tanstack/react-query";
import { useRef } from "react";
import { useMatch, useNavigate } from "react-router";
import { city } from "../../../api/city";
import { useNow } from "../../../hooks/useNow";
import { formatDay, localDate } from "../../../lib/formatTime";
import { useTranslation } from "../../../lib/i18n";
import { messagePath } from "../../../lib/paths";
import styles from "./CityRoomMessageList.module.css";
import { useConversation, useRoom } from "./useRoom";

/** The line between the messages of two days. In a room it opens a calendar, and jumps to the chosen day. */
export function DayLine({ day }: { day: string }) {
  const { t, language } = useTranslation();
  const now = useNow();
  const isThread = useConversation().threadRoot !== null;
  // Messages have no URLs in an embedded chat.
  const isPage = useMatch("/city/:slug/:messageId?") !== null;
  const words = formatDay(day, now, language, { today: t("room.today"), yesterday: t("room.yesterday") });
  return <div className={styles.line}>{isPage && !isThread ? <Calendar day={day} words={words} /> : words}</div>;
}

function Calendar({ day, words }: { day: string; words: string }) {
  const { t } = useTranslation();
  const input = useRef<HTMLInputElement>(null);
  const { mutate: jump } = useJump();
  return (
    <>
      <button type="button" className={styles.day} title={t("room.jumpToDay")} onClick={() => input.current?.showPicker()}>
        {words}
      </button>
      <input
        ref={input}
        type="date"
        className={styles.picker}
        tabIndex={-1}
        aria-hidden="true"
        aria-label={t("room.jumpToDay")}
        value={day}
        max={localDate(new Date().toISOString())}
        onChange={({ target }) => target.value && target.value !== day && jump(target.value)}
      />
    </>
  );
}

/** Go to the first message of a local day, else to the first one after it, else to the newest one. */
function useJump() {
  const { name } = useRoom();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: async (day: string) => {
      const [year = 0, month = 1, date = 1] = day.split("-").map(Number);
      const start = new Date(year, month - 1, date);
      const messages = await city.messagesAt(name, start.toISOString(), JUMP_PAGE);
      return messages.find(({ created_at: at }) => Date.parse(at) >= start.getTime()) ?? messages.at(-1);
    },
    onSuccess: (message) => message && navigate(messagePath(name, message.id)),
  });
}

/** The number of messages to load around the start of the day. */
const JUMP_PAGE = 4;
