import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import { city } from "../../api/city";
import { queries } from "../../api/queries";
import type { SubjectId } from "../../api/types";
import { Button } from "../../components/ui/Button";
import { Dialog, DialogActions } from "../../components/ui/Dialog";
import { TextField } from "../../components/ui/Field";
import { InlineProblem } from "../../components/ui/Notice";
import { useTranslation } from "../../lib/i18n";
import { useOpenRoom } from "../../stores/openRoom";
import styles from "./ProfileCard.module.css";

const MAX_REASON_CHARS = 500;

interface Props {
  subject: SubjectId;
  name: string;
  /** The ids of the rooms that the person is in. */
  roomIds: readonly string[];
  onClose: () => void;
}

/** The actions of a moderator on a person in the open room: kick or ban. */
export function Moderation({ subject, name, roomIds, onClose }: Props) {
  const { t } = useTranslation();
  const room = useOpenRoom((state) => state.room);
  const [asks, setAsks] = useState<"kick" | "ban" | null>(null);
  const titleId = useId();
  if (!room || !(room.rights.kick || room.rights.ban)) return null;
  const isHere = roomIds.includes(room.id);
  return (
    <section className={styles.moderation} aria-labelledby={titleId}>
      <h3 id={titleId}>{t("moderation.inRoom", { room: room.name })}</h3>
      <div className={styles.actions}>
        {room.rights.kick && isHere && <Button onClick={() => setAsks("kick")}>{t("moderation.kick")}</Button>}
        {room.rights.ban && <Button onClick={() => setAsks("ban")}>{t("moderation.ban")}</Button>}
      </div>
      {asks && (
        <ReasonDialog kind={asks} subject={subject} name={name} room={room} onClose={() => setAsks(null)} onDone={onClose} />
      )}
    </section>
  );
}

interface ReasonProps {
  kind: "kick" | "ban";
  subject: SubjectId;
  name: string;
  room: { id: string; slug: string; name: string };
  onClose: () => void;
  onDone: () => void;
}

/** Asks for a reason and a confirmation before the kick or ban. */
function ReasonDialog({ kind, subject, name, room, onClose, onDone }: ReasonProps) {
  const { t } = useTranslation();
  const queryClient = useQueryClient();
  const [reason, setReason] = useState("");
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => city[kind](room.slug, subject, reason.trim()),
    onSuccess: () => {
      void queryClient.invalidateQueries({ queryKey: queries.person(subject).queryKey });
      onDone();
    },
  });
  return (
    <Dialog title={t(`moderation.${kind}Ask`, { name })} onClose={onClose}>
      <form
        className={styles.card}
        onSubmit={(event) => {
          event.preventDefault();
          mutate();
        }}
      >
        <p>{t(`moderation.${kind}Text`, { room: room.name })}</p>
        <TextField
          label={t("moderation.reason")}
          hint={t("moderation.reasonHint")}
          maxLength={MAX_REASON_CHARS}
          value={reason}
          onChange={({ target }) => setReason(target.value)}
        />
        <InlineProblem error={error} />
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button variant="danger" type="submit" disabled={isPending}>
            {t(`moderation.${kind}`)}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
