import { useEffect, useRef, useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import { city } from "../../../api/city";
import type { Message, Poll, PollOption } from "../../../api/types";
import { Button } from "../../../components/ui/Button";
import { ConfirmDialog } from "../../../components/ui/Dialog";
import { useSession } from "../../../stores/session";
import styles from "./PollView.module.css";
import { useConversation } from "./useRoom";

interface Props {
  message: Message;
  poll: Poll;
  isMine: boolean;
}

/** A poll: its options, which take votes while it is open, and the results that the city shows. */
export function PollView({ message, poll, isMine }: Props) {
  const { t } = useTranslation();
  const room = useConversation();
  const isSignedIn = useSession((state) => state.session !== null);
  const [selected, setSelected] = useOwnVote(message, poll);
  const [isAsking, setAsking] = useState(false);
  const isOpen = poll.ended_at === null;
  const most = Math.max(...poll.options.map(({ votes }) => votes ?? 0));
  const choose = (id: string) => {
    const chosen = toggleSelection(selected, id, poll.max_selections);
    setSelected(chosen);
    void room.vote(message, chosen).then((isTaken) => {
      if (!isTaken) setSelected(selected);
    });
  };
  return (
    <fieldset className={styles.poll} disabled={!isOpen || !isSignedIn}>
      <legend className={styles.question} dir="auto">
        {poll.question}
      </legend>
      {poll.options.map((option) => (
        <Option
          key={option.id}
          option={option}
          voters={poll.voters ?? 0}
          isBest={!isOpen && most > 0 && option.votes === most}
          isSelected={selected.includes(option.id)}
          isSingle={poll.max_selections === 1}
          name={message.id}
          onChoose={() => choose(option.id)}
        />
      ))}
      <p className={styles.state}>
        {poll.max_selections > 1 && isOpen && <span>{t("poll.upTo", { count: poll.max_selections })}</span>}
        {poll.voters !== null && <span>{poll.voters ? t("poll.voters", { count: poll.voters }) : t("poll.noVoters")}</span>}
        {!isOpen && <span>{t("poll.ended")}</span>}
        {isOpen && poll.kind === "undisclosed" && <span>{t("poll.undisclosed")}</span>}
        {isOpen && isMine && <Button onClick={() => setAsking(true)}>{t("poll.end")}</Button>}
      </p>
      {isAsking && (
        <ConfirmDialog
          title={t("poll.endAsk")}
          text={t("poll.endText")}
          action={t("poll.end")}
          onConfirm={() => void room.endPoll(message)}
          onClose={() => setAsking(false)}
        />
      )}
    </fieldset>
  );
}

interface OptionProps {
  option: PollOption;
  voters: number;
  isBest: boolean;
  isSelected: boolean;
  isSingle: boolean;
  name: string;
  onChoose: () => void;
}

function Option({ option: { text, votes }, voters, isBest, isSelected, isSingle, name, onChoose }: OptionProps) {
  const { t } = useTranslation();
  const share = votes === null || voters === 0 ? 0 : votes / voters;
  return (
    <label className={[styles.option, isBest && styles.best].filter(Boolean).join(" ")}>
      <input
        type={isSingle ? "radio" : "checkbox"}
        name={`poll-${name}`}
        checked={isSelected}
        onChange={onChoose}
        /* A click on the selected option withdraws the vote. */
        onClick={() => isSingle && isSelected && onChoose()}
      />
      <bdi className={styles.text}>{text}</bdi>
      {votes !== null && <span className={styles.votes}>{t("poll.votes", { count: votes })}</span>}
      <span className={styles.bar} aria-hidden="true">
        <span style={{ inlineSize: `${Math.round(share * 100)}%` }} />
      </span>
    </label>
  );
}

/** Toggle an option of a selection. Above `most` options, the one that was chosen first is removed. */
export function toggleSelection(selected: readonly string[], id: string, most: number): string[] {
  return selected.includes(id) ? selected.filter((each) => each !== id) : [...selected, id].slice(-most);
}

/** The reader's own vote. The city sends it to nobody else, and not in the message, which is the same for all readers. */
function useOwnVote({ id, room_id: roomId }: Message, { ended_at: endedAt }: Poll) {
  const me = useSession((state) => state.session?.userId ?? null);
  const [vote, setVote] = useState<{ of: string | null; selections: readonly string[] }>({ of: null, selections: [] });
  const loading = useRef<AbortController>(null);
  useEffect(() => {
    if (me === null) return;
    const aborted = (loading.current = new AbortController());
    city.ownVote(roomId, id, aborted.signal).then(
      ({ selections }) => setVote({ of: me, selections }),
      // Without the own vote, the results are shown all the same.
      () => undefined,
    );
    return () => aborted.abort();
  }, [me, roomId, id, endedAt]);
  const set = (selections: readonly string[]) => {
    // A response that is still on its way is older than this choice.
    loading.current?.abort();
    setVote({ of: me, selections });
  };
  return [vote.of === me ? vote.selections : [], set] as const;
}
