import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { city } from "../../api/city";
import { Problem } from "../../api/problem";
import { applyChange } from "../../api/applyChange";
import { queries } from "../../api/queries";
import type { CurrentCitizen, OwnProfileChange } from "../../api/types";
import { Avatar } from "../../components/ui/Avatar";
import { Button } from "../../components/ui/Button";
import { Dialog, DialogActions } from "../../components/ui/Dialog";
import { TextField } from "../../components/ui/Field";
import { InlineProblem, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { PictureField, uploadPicture, type Picture } from "../../components/ui/PictureField";
import { useTranslation } from "../../lib/i18n";
import { useOwnProfile } from "../../stores/ownProfile";
import { NO_PROFILE, useProfiles } from "../../stores/profiles";
import { useSession } from "../../stores/session";
import styles from "./OwnProfile.module.css";

const MAX_NAME_CHARS = 60;
const MAX_STATUS_CHARS = 255;

/** The dialog for the reader's own name, picture and status text. */
export default function OwnProfile() {
  const { t } = useTranslation();
  const hide = useOwnProfile((state) => state.hide);
  const session = useSession((state) => state.session);
  const { data: me, error, refetch } = useQuery(queries.me(session?.userId ?? ""));
  return (
    <Dialog title={t("profile.title")} onClose={hide}>
      {me ? (
        <ProfileForm me={me} onDone={hide} />
      ) : error ? (
        <ProblemNotice error={error} onRetry={() => void refetch()} />
      ) : (
        <Skeleton heights={[4.5, 3, 3]} />
      )}
    </Dialog>
  );
}

function ProfileForm({ me, onDone }: { me: CurrentCitizen; onDone: () => void }) {
  const { t } = useTranslation();
  const [name, setName] = useState(me.display_name);
  const [status, setStatus] = useState(me.status_text ?? "");
  const [picture, setPicture] = useState<Picture>();
  const save = useSave(me, onDone);
  const isLinked = me.matrix_user_id !== null;
  return (
    <form
      className={styles.form}
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate({ name: name.trim(), status: status.trim(), picture });
      }}
    >
      {isLinked ? (
        <p className={styles.hint}>{t("profile.linked", { id: me.matrix_user_id ?? "" })}</p>
      ) : (
        <>
          <PictureField current={me.avatar_url} picture={picture} onChoose={setPicture}>
            {(avatarUrl) => (
              <Avatar key={avatarUrl} subject={me.subject} profile={{ ...NO_PROFILE, name, avatarUrl }} size={72} />
            )}
          </PictureField>
          <TextField
            label={t("profile.name")}
            autoComplete="nickname"
            maxLength={MAX_NAME_CHARS}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        </>
      )}
      <TextField
        label={t("profile.status")}
        hint={t("profile.statusHint")}
        placeholder={t("profile.statusPlaceholder")}
        maxLength={MAX_STATUS_CHARS}
        value={status}
        onChange={(event) => setStatus(event.target.value)}
      />
      <InlineProblem error={save.error} />
      <DialogActions>
        <Button onClick={onDone}>{t("common.cancel")}</Button>
        <Button variant="main" type="submit" disabled={save.isPending || !name.trim()}>
          {t("profile.save")}
        </Button>
      </DialogActions>
    </form>
  );
}

interface Input {
  name: string;
  status: string;
  picture: Picture;
}

function useSave(me: CurrentCitizen, onDone: () => void) {
  const queryClient = useQueryClient();
  return useMutation<CurrentCitizen | null, Problem | Error, Input>({
    mutationFn: async ({ name, status, picture }) => {
      const change: Partial<OwnProfileChange> = {};
      if (name !== me.display_name) change.display_name = name;
      if (status !== (me.status_text ?? "")) change.status_text = status || null;
      const avatar = await uploadPicture(picture);
      if (avatar !== undefined) change.avatar = avatar;
      return Object.keys(change).length ? city.changeProfile(change) : null;
    },
    onSuccess: async (changed) => {
      if (changed) {
        await applyChange(queryClient, queries.me(me.user_id).queryKey, () => changed);
        useProfiles.getState().addMe(changed);
      }
      onDone();
    },
  });
}
