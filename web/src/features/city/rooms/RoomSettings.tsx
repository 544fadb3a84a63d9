import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { city } from "../../../api/city";
import { queries } from "../../../api/queries";
import type { Ban, RoomDetails, RoomRights } from "../../../api/types";
import { Avatar } from "../../../components/ui/Avatar";
import { Button } from "../../../components/ui/Button";
import { Choices } from "../../../components/ui/Choices";
import { Dialog, DialogActions } from "../../../components/ui/Dialog";
import { TextArea, TextField } from "../../../components/ui/Field";
import { Name } from "../../../components/ui/Name";
import { InlineProblem, Skeleton } from "../../../components/ui/Notice";
import { PictureField, uploadPicture, type Picture } from "../../../components/ui/PictureField";
import { useTranslation } from "../../../lib/i18n";
import { useOpenRoom } from "../../../stores/openRoom";
import { RoomIcon } from "./RoomIcon";
import styles from "./RoomSettings.module.css";

const MAX_NAME_CHARS = 255;
const MAX_DESCRIPTION_CHARS = 2_000;

const close = () => useOpenRoom.setState({ showsSettings: false });

/** The settings of the open room for moderators: picture, name and description, who may write, and bans. */
export default function RoomSettings() {
  const { t } = useTranslation();
  const room = useOpenRoom((state) => state.room);
  if (!room) return null;
  return (
    <Dialog title={t("moderation.settings")} onClose={close}>
      <Loaded name={room.slug} rights={room.rights} />
    </Dialog>
  );
}

function Loaded({ name, rights }: { name: string; rights: RoomRights }) {
  // Loaded once each time the dialog opens: another response would replace what is being edited.
  const { data, error } = useQuery({ ...queries.roomDetails(name), gcTime: 0, staleTime: Infinity });
  if (error) return <InlineProblem error={error} />;
  if (!data) return <Skeleton heights={[3, 6, 3]} />;
  return (
    <div className={styles.parts}>
      {(rights.edit_room || rights.set_avatar || rights.set_writers) && <SettingsForm room={data} rights={rights} />}
      {rights.ban && <Bans name={name} />}
    </div>
  );
}

function SettingsForm({ room, rights }: { room: RoomDetails; rights: RoomRights }) {
  const { t } = useTranslation();
  const queryClient = useQueryClient();
  const [name, setName] = useState(room.name);
  const [description, setDescription] = useState(room.description);
  const [writers, setWriters] = useState(room.writers);
  const [picture, setPicture] = useState<Picture>();
  const { mutate, isPending, error } = useMutation({
    mutationFn: async () => {
      const avatar = await uploadPicture(picture);
      return city.updateRoom(room.slug, {
        ...(name.trim() !== room.name && { name: name.trim() }),
        ...(description.trim() !== room.description && { description: description.trim() }),
        ...(writers !== room.writers && { writers }),
        ...(avatar !== undefined && { avatar: avatar ?? "" }),
      });
    },
    onSuccess: () => {
      void queryClient.invalidateQueries({ queryKey: ["rooms"] });
      close();
    },
  });
  const isChanged =
    name.trim() !== room.name || description.trim() !== room.description || writers !== room.writers || picture !== undefined;
  return (
    <form
      className={styles.parts}
      onSubmit={(event) => {
        event.preventDefault();
        mutate();
      }}
    >
      {rights.set_avatar && (
        <PictureField current={room.avatar_url} picture={picture} onChoose={setPicture}>
          {(url) => <RoomIcon slug={room.slug} url={url} isLit={room.members_online > 0} size={72} />}
        </PictureField>
      )}
      {rights.edit_room && (
        <>
          <TextField
            label={t("rooms.nameLabel")}
            maxLength={MAX_NAME_CHARS}
            value={name}
            onChange={({ target }) => setName(target.value)}
          />
          <TextArea
            label={t("rooms.descriptionLabel")}
            maxLength={MAX_DESCRIPTION_CHARS}
            rows={3}
            value={description}
            onChange={({ target }) => setDescription(target.value)}
          />
        </>
      )}
      {rights.set_writers && (
        <Choices
          isInForm
          legend={t("moderation.writers")}
          choices={(["everyone", "moderators"] as const).map((value) => ({ value, words: t(`moderation.${value}`) }))}
          chosen={writers}
          onChoose={(value) => setWriters(value as RoomDetails["writers"])}
        />
      )}
      <InlineProblem error={error} />
      <DialogActions>
        <Button onClick={close}>{t("common.cancel")}</Button>
        <Button variant="main" type="submit" disabled={isPending || !isChanged || !name.trim()}>
          {t("moderation.save")}
        </Button>
      </DialogActions>
    </form>
  );
}

function Bans({ name }: { name: string }) {
  const { t } = useTranslation();
  const { data, error } = useQuery({ ...queries.bans(name), gcTime: 0 });
  return (
    <section aria-labelledby="bans">
      <h3 id="bans">{t("moderation.bans")}</h3>
      <InlineProblem error={error} />
      {data?.length === 0 && <p className={styles.none}>{t("moderation.noBans")}</p>}
      <ul className={styles.bans}>
        {data?.map((ban) => (
          <li key={ban.subject} className={styles.ban}>
            <BannedPerson name={name} ban={ban} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function BannedPerson({ name, ban }: { name: string; ban: Ban }) {
  const { t } = useTranslation();
  const { mutate, isPending, isSuccess, error } = useMutation({ mutationFn: () => city.unban(name, ban.subject) });
  const { display_name: displayName, avatar_url: avatarUrl } = ban.person;
  return (
    <>
      <Avatar subject={ban.subject} profile={{ name: displayName, avatarUrl, color: "" }} size={36} />
      <span>
        <Name>{displayName}</Name>
        {ban.reason && <small dir="auto">{ban.reason}</small>}
        <InlineProblem error={error} />
      </span>
      {/* The city lifts the ban within a moment: a list that is loaded at once would still have it. */}
      <Button disabled={isPending || isSuccess} onClick={() => mutate()}>
        {isSuccess ? t("moderation.unbanned") : t("moderation.unban")}
      </Button>
    </>
  );
}
