import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { city } from "../../api/city";
import { Problem } from "../../api/problem";
import { queries } from "../../api/queries";
import type { CurrentCitizen, OwnProfileChange } from "../../api/types";
import { upload } from "../../api/upload";
import { Avatar } from "../../components/ui/Avatar";
import { Button } from "../../components/ui/Button";
import { Dialog, DialogActions } from "../../components/ui/Dialog";
import { TextField } from "../../components/ui/Field";
import { InlineProblem, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { useTranslation } from "../../lib/i18n";
import { squarePicture } from "../../lib/squarePicture";
import { useOwnProfile } from "../../stores/ownProfile";
import { NO_PROFILE, useProfiles } from "../../stores/profiles";
import { useSession } from "../../stores/session";
import styles from "./OwnProfile.module.css";

const MAX_NAME_CHARS = 60;
const MAX_STATUS_CHARS = 255;

/** One's own name, picture and status text. */
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

/** A chosen picture with its address in this browser, or null for none; undefined leaves it as it is. */
type Picture = { file: File; url: string } | null | undefined;

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
          <PictureField me={me} name={name} picture={picture} onChoose={setPicture} />
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

interface PictureFieldProps {
  me: CurrentCitizen;
  name: string;
  picture: Picture;
  onChoose: (picture: Picture) => void;
}

function PictureField({ me, name, picture, onChoose }: PictureFieldProps) {
  const { t } = useTranslation();
  const input = useRef<HTMLInputElement>(null);
  const [isUnreadable, setUnreadable] = useState(false);
  const chosenUrl = picture?.url ?? null;
  const avatarUrl = picture === undefined ? me.avatar_url : chosenUrl;
  useEffect(
    () => () => {
      if (chosenUrl) URL.revokeObjectURL(chosenUrl);
    },
    [chosenUrl],
  );
  const choose = async (file: File | undefined) => {
    if (!file) return;
    try {
      const square = await squarePicture(file);
      onChoose({ file: square, url: URL.createObjectURL(square) });
      setUnreadable(false);
    } catch {
      setUnreadable(true);
    }
  };
  return (
    <div className={styles.picture}>
      <Avatar key={avatarUrl} subject={me.subject} profile={{ ...NO_PROFILE, name, avatarUrl }} size={72} />
      <div>
        <input
          ref={input}
          type="file"
          hidden
          accept="image/*"
          data-testid="picture"
          onChange={(event) => {
            void choose(event.target.files?.[0]);
            event.target.value = "";
          }}
        />
        <Button onClick={() => input.current?.click()}>{t(avatarUrl ? "profile.otherPicture" : "profile.choosePicture")}</Button>
        {avatarUrl && (
          <Button variant="bare" onClick={() => onChoose(null)}>
            {t("profile.removePicture")}
          </Button>
        )}
        {isUnreadable && <p role="alert">{t("profile.notPicture")}</p>}
      </div>
    </div>
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
      if (picture) change.avatar = (await upload(picture.file, () => undefined, AbortSignal.timeout(60_000))).mxc;
      else if (picture === null) change.avatar = null;
      return Object.keys(change).length ? city.changeProfile(change) : null;
    },
    onSuccess: (changed) => {
      if (changed) {
        queryClient.setQueryData(queries.me(me.user_id).queryKey, changed);
        useProfiles.getState().addMe(changed);
      }
      onDone();
    },
  });
}
