import { useEffect, useRef, useState, type ReactNode } from "react";
import { upload } from "../../api/upload";
import { useTranslation } from "../../lib/i18n";
import { squarePicture } from "../../lib/squarePicture";
import { Button } from "./Button";
import styles from "./PictureField.module.css";

const UPLOAD_TIMEOUT_MS = 60_000;

/** A chosen picture and its object URL, or null for none; undefined leaves the picture as it is. */
export type Picture = { file: File; url: string } | null | undefined;

interface Props {
  /** The URL of the picture that is shown now. */
  current: string | null;
  picture: Picture;
  onChoose: (picture: Picture) => void;
  /** Renders the picture at a URL, or its substitute without one. */
  children: (url: string | null) => ReactNode;
}

/** Chooses a picture of a person or a room, or removes it. */
export function PictureField({ current, picture, onChoose, children }: Props) {
  const { t } = useTranslation();
  const input = useRef<HTMLInputElement>(null);
  const [isUnreadable, setUnreadable] = useState(false);
  const chosenUrl = picture?.url ?? null;
  const url = picture === undefined ? current : chosenUrl;
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
      {children(url)}
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
        <Button onClick={() => input.current?.click()}>{t(url ? "profile.otherPicture" : "profile.choosePicture")}</Button>
        {url && (
          <Button variant="bare" onClick={() => onChoose(null)}>
            {t("profile.removePicture")}
          </Button>
        )}
        {isUnreadable && <p role="alert">{t("profile.notPicture")}</p>}
      </div>
    </div>
  );
}

/** Uploads a chosen picture and returns its `mxc://` URI; null for none, undefined for no change. */
export async function uploadPicture(picture: Picture): Promise<string | null | undefined> {
  if (!picture) return picture;
  return (await upload(picture.file, () => undefined, AbortSignal.timeout(UPLOAD_TIMEOUT_MS))).mxc;
}
