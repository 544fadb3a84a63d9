import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import { useNavigate } from "react-router";
import { city } from "../../../api/city";
import type { Room } from "../../../api/types";
import { Button } from "../../../components/ui/Button";
import { Dialog, DialogActions } from "../../../components/ui/Dialog";
import { TextArea, TextField } from "../../../components/ui/Field";
import { InlineProblem } from "../../../components/ui/Notice";
import styles from "./CityRoomsPage.module.css";

const MAX_NAME_CHARS = 255;
const MAX_DESCRIPTION_CHARS = 2_000;

export function CreateRoomDialog({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => openAndEnter(name.trim(), description.trim()),
    onSuccess: (room) => {
      void queryClient.invalidateQueries({ queryKey: ["rooms"] });
      onClose();
      void navigate(`/city/${room.slug}`);
    },
  });
  return (
    <Dialog title={t("rooms.createTitle")} onClose={onClose}>
      <form
        className={styles.form}
        onSubmit={(event) => {
          event.preventDefault();
          mutate();
        }}
      >
        <TextField
          label={t("rooms.nameLabel")}
          placeholder={t("rooms.namePlaceholder")}
          maxLength={MAX_NAME_CHARS}
          value={name}
          onChange={({ target }) => setName(target.value)}
        />
        <TextArea
          label={t("rooms.descriptionLabel")}
          placeholder={t("rooms.descriptionPlaceholder")}
          maxLength={MAX_DESCRIPTION_CHARS}
          rows={3}
          value={description}
          onChange={({ target }) => setDescription(target.value)}
        />
        <InlineProblem error={error} />
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button variant="main" type="submit" disabled={isPending || !name.trim()}>
            {t("rooms.createDo")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

/** Create a room and join it. If joining fails, the room exists all the same, and its page offers to join again. */
async function openAndEnter(name: string, description: string): Promise<Room> {
  const room = await city.createRoom(name, description);
  await city.join(room.slug).catch(() => undefined);
  return room;
}
