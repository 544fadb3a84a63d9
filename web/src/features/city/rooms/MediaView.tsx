import { useEffect, useRef, useState, type CSSProperties } from "react";
import { useTranslation } from "react-i18next";
import { fetchBlobUrl } from "../../../api/upload";
import type { Media } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import styles from "./MediaView.module.css";

/** The file that a message is about. */
export function MediaView({ media, msgtype }: { media: Media; msgtype: string }) {
  const { t } = useTranslation();
  if (!media.url) return <p>{`${media.filename}: ${t("room.fileGone")}`}</p>;
  if (msgtype === "m.image") return <Picture media={media} url={media.url} />;
  // What was said in a recording cannot be known here, so there are no captions to give.
  // eslint-disable-next-line jsx-a11y/media-has-caption
  if (msgtype === "m.audio") return <audio className={styles.player} src={media.url} controls preload="none" aria-label={media.filename} />;
  // eslint-disable-next-line jsx-a11y/media-has-caption
  if (msgtype === "m.video") return <video className={styles.player} src={media.url} controls preload="metadata" aria-label={media.filename} />;
  return <Attachment media={media} url={media.url} />;
}

function Picture({ media, url }: { media: Media; url: string }) {
  const { t } = useTranslation();
  const [isOpen, setOpen] = useState(false);
  const small = useShownUrl(media.thumbnail_url ?? url);
  // Its place is kept before it is there, so that nothing jumps.
  const style: CSSProperties = media.width && media.height ? { aspectRatio: `${media.width} / ${media.height}` } : { height: "12rem" };
  return (
    <>
      <button type="button" className={styles.opener} aria-label={t("room.imageOpen", { name: media.filename })} onClick={() => setOpen(true)}>
        <img {...small} className={styles.picture} style={style} width={media.width ?? undefined} alt="" />
      </button>
      {isOpen && <Lightbox media={media} url={url} onClose={() => setOpen(false)} />}
    </>
  );
}

function Lightbox({ media, url, onClose }: { media: Media; url: string; onClose: () => void }) {
  const { t } = useTranslation();
  const dialog = useRef<HTMLDialogElement>(null);
  const large = useShownUrl(url);
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    // A click anywhere closes it for the mouse; Escape and the button are there for everybody.
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog ref={dialog} className={styles.lightbox} aria-label={media.filename} onClose={onClose} onClick={onClose}>
      <img {...large} alt={t("room.image", { name: media.filename })} />
      <IconButton icon="close" label={t("common.close")} className={styles.close ?? ""} onClick={onClose} />
    </dialog>
  );
}

function Attachment({ media, url }: { media: Media; url: string }) {
  const { t } = useTranslation();
  return (
    <a className={styles.file} href={url} download={media.filename} aria-label={t("room.download", { name: media.filename })}>
      <Icon name="file" size={28} />
      <span>
        {media.filename}
        {media.size !== null && <small>{bytes(media.size)}</small>}
      </span>
    </a>
  );
}

/** Where reading takes a token an `<img>` is refused: then it is fetched with one. */
function useShownUrl(url: string): { src: string; onError: () => void } {
  const [fetched, setFetched] = useState<{ of: string; src: string } | null>(null);
  const isTried = useRef(false);
  useEffect(() => (fetched ? () => URL.revokeObjectURL(fetched.src) : undefined), [fetched]);
  return {
    src: fetched?.of === url ? fetched.src : url,
    onError: () => {
      if (isTried.current) return;
      isTried.current = true;
      fetchBlobUrl(url).then(
        (src) => setFetched({ of: url, src }),
        () => undefined, // It stays what it is: a picture that cannot be shown, with its name.
      );
    },
  };
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"] as const;

function bytes(size: number): string {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(size, 1)) / 3));
  const format = new Intl.NumberFormat(document.documentElement.lang, {
    style: "unit",
    unit: UNITS[step] ?? "byte",
    unitDisplay: "short",
    maximumFractionDigits: 1,
  });
  return format.format(size / 1000 ** step);
}
