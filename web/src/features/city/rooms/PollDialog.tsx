import { useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import { Button, IconButton } from "../../../components/ui/Button";
import { Dialog, DialogActions } from "../../../components/ui/Dialog";
import { TextField } from "../../../components/ui/Field";
import styles from "./PollDialog.module.css";
import { useConversation } from "./useRoom";

const MAX_OPTIONS = 20;
const MAX_CHARS = 340;

/** Asks for a question and its options, and starts a poll with them. */
export function PollDialog({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const room = useConversation();
  const [question, setQuestion] = useState("");
  const [options, setOptions] = useState<readonly string[]>(["", ""]);
  const [isSeveral, setSeveral] = useState(false);
  const [isHidden, setHidden] = useState(false);
  const [isSending, setSending] = useState(false);
  const written = options.map((option) => option.trim()).filter(Boolean);
  const isReady = question.trim() !== "" && written.length >= 2 && !isSending;
  const start = async () => {
    setSending(true);
    const isStarted = await room.startPoll({
      question: question.trim(),
      options: written,
      kind: isHidden ? "undisclosed" : "disclosed",
      max_selections: isSeveral ? written.length : 1,
    });
    setSending(false);
    // The error of a failed start is shown above the composer, where this dialog hides nothing.
    if (isStarted) onClose();
  };
  return (
    <Dialog title={t("poll.start")} onClose={onClose}>
      <form
        className={styles.form}
        onSubmit={(event) => {
          event.preventDefault();
          if (isReady) void start();
        }}
      >
        <TextField
          label={t("poll.question")}
          maxLength={MAX_CHARS}
          value={question}
          onChange={({ target }) => setQuestion(target.value)}
        />
        {options.map((option, index) => (
          <div key={index} className={styles.option}>
            <TextField
              label={t("poll.option", { number: index + 1 })}
              maxLength={MAX_CHARS}
              value={option}
              onChange={({ target }) => setOptions(options.with(index, target.value))}
            />
            {options.length > 2 && (
              <IconButton
                icon="close"
                label={t("poll.removeOption", { number: index + 1 })}
                onClick={() => setOptions(options.toSpliced(index, 1))}
              />
            )}
          </div>
        ))}
        {options.length < MAX_OPTIONS && <Button onClick={() => setOptions([...options, ""])}>{t("poll.addOption")}</Button>}
        <label className={styles.choice}>
          <input type="checkbox" checked={isSeveral} onChange={({ target }) => setSeveral(target.checked)} />
          {t("poll.several")}
        </label>
        <label className={styles.choice}>
          <input type="checkbox" checked={isHidden} onChange={({ target }) => setHidden(target.checked)} />
          {t("poll.hidden")}
        </label>
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button variant="main" type="submit" disabled={!isReady}>
            {t("poll.start")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
