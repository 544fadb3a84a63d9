import { useEffect, useRef, useState, type CSSProperties } from "react";
import { useTranslation } from "../../../lib/i18n";
import { fetchBlobUrl } from "../../../api/upload";
import type { Media } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Name } from "../../../components/ui/Name";
import { plainName } from "../../../lib/names";
import { formatBytes } from "../../../lib/formatBytes";
import styles from "./MediaView.module.css";
import { VoiceMessage } from "./VoiceMessage";

/**
 * Types that browsers show; of others, and of what turns out to be damaged, there is the file to save. Events need not name a type,
 * and then the browser finds out.
 */
const SHOWN_TYPES: Record<string, RegExp> = {
  "m.image": /^(image\/(png|apng|jpeg|jpg|gif|webp|avif)|application\/octet-stream)$/i,
  "m.audio": /^(audio\/|application\/octet-stream$)/i,
  "m.video": /^(video\/|application\/octet-stream$)/i,
};

/** The file that a message is about. */
export function MediaView({ media, msgtype }: { media: Media; msgtype: string }) {
  const { t } = useTranslation();
  const { url } = media;
  const [brokenUrl, setBrokenUrl] = useState<string | null>(null);
  if (!url) {
    return (
      <p>
        <Name>{media.filename}</Name>: {t("room.fileGone")}
      </p>
    );
  }
  const isShown = brokenUrl !== url && SHOWN_TYPES[msgtype]?.test(media.mimetype);
  if (!isShown && media.sticker) return <Name>{media.filename}</Name>;
  if (!isShown) return <Attachment media={media} url={url} />;
  const props = { media, url, onBroken: () => setBrokenUrl(url) };
  if (media.sticker) return <Sticker {...props} />;
  if (msgtype === "m.image") return <Picture {...props} />;
  if (msgtype === "m.audio" && media.voice) return <Voice {...props} />;
  return <Player {...props} isVideo={msgtype === "m.video"} />;
}

interface ShownProps {
  media: Media;
  url: string;
  onBroken: () => void;
}

/** A picture of unknown size gets this height, in pixels, before and after it is there. */
const UNKNOWN_HEIGHT_PX = 192;
const MAX_WIDTH_PX = 352;
const MAX_HEIGHT_PX = 320;
const MAX_STICKER_PX = 192;
const UNKNOWN_STICKER_PX = 128;

function Picture({ media, url, onBroken }: ShownProps) {
  const { t } = useTranslation();
  const [isOpen, setOpen] = useState(false);
  const [source, setSource] = useState(media.thumbnail_url ?? url);
  const small = useShownUrl(source, () => (source === url ? onBroken() : setSource(url)));
  const name = plainName(media.filename);
  return (
    <>
      <button type="button" className={styles.opener} aria-label={t("room.imageOpen", { name })} onClick={() => setOpen(true)}>
        <img {...small} className={styles.picture} style={placeOf(media)} alt="" />
      </button>
      {isOpen && <Lightbox media={media} url={url} onClose={() => setOpen(false)} />}
    </>
  );
}

/** The place of a picture, which it has before it is there, so that nothing moves when it comes. */
function placeOf({ width, height }: Media): CSSProperties {
  if (!width || !height) return { height: UNKNOWN_HEIGHT_PX };
  const scale = Math.min(1, MAX_WIDTH_PX / width, MAX_HEIGHT_PX / height);
  return { width: width * scale, aspectRatio: `${width} / ${height}` };
}

/** A sticker has its own size, as far as there is place, and nothing to open. */
function Sticker({ media, url, onBroken }: ShownProps) {
  const shown = useShownUrl(url, onBroken);
  const { width, height } = media;
  const scale = width && height ? Math.min(1, MAX_STICKER_PX / width, MAX_STICKER_PX / height) : 1;
  const place = width && height ? { width: width * scale, aspectRatio: `${width} / ${height}` } : { height: UNKNOWN_STICKER_PX };
  return (
    <img {...shown} className={styles.sticker} style={place} alt={plainName(media.filename)} title={plainName(media.filename)} />
  );
}

function Voice({ media, url, onBroken }: ShownProps) {
  return <VoiceMessage media={media} {...useShownUrl(url, onBroken)} />;
}

function Player({ media, url, onBroken, isVideo }: ShownProps & { isVideo: boolean }) {
  const props = {
    ...useShownUrl(url, onBroken),
    className: styles.player,
    controls: true,
    "aria-label": plainName(media.filename),
  };
  // What was said in a recording cannot be known here, so there are no captions to give.
  // eslint-disable-next-line jsx-a11y/media-has-caption
  return isVideo ? <video {...props} preload="metadata" style={placeOf(media)} /> : <audio {...props} preload="metadata" />;
}

function Lightbox({ media, url, onClose }: { media: Media; url: string; onClose: () => void }) {
  const { t } = useTranslation();
  const dialog = useRef<HTMLDialogElement>(null);
  const large = useShownUrl(url, onClose);
  const name = plainName(media.filename);
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    // A click anywhere closes it for the mouse; Escape and the button are there for everybody.
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog ref={dialog} className={styles.lightbox} aria-label={name} onClose={onClose} onClick={onClose}>
      <img {...large} alt={t("room.image", { name })} />
      <IconButton icon="close" label={t("common.close")} className={styles.close ?? ""} onClick={onClose} />
    </dialog>
  );
}

function Attachment({ media, url }: { media: Media; url: string }) {
  const { t, language } = useTranslation();
  const name = plainName(media.filename);
  return (
    <a className={styles.file} href={url} download={name} aria-label={t("room.download", { name })}>
      <Icon name="file" size={28} />
      <span>
        <Name>{name}</Name>
        {media.size !== null && <small>{formatBytes(media.size, language)}</small>}
      </span>
    </a>
  );
}

/** Where reading takes a token an `<img>` is refused: then it is fetched with one. */
function useShownUrl(url: string, onBroken: () => void): { src: string; onError: () => void } {
  const [fetched, setFetched] = useState<{ of: string; src: string } | null>(null);
  const isTried = useRef<string | null>(null);
  useEffect(() => (fetched ? () => URL.revokeObjectURL(fetched.src) : undefined), [fetched]);
  return {
    src: fetched?.of === url ? fetched.src : url,
    onError: () => {
      if (isTried.current === url) {
        onBroken();
        return;
      }
      isTried.current = url;
      fetchBlobUrl(url).then((src) => setFetched({ of: url, src }), onBroken);
    },
  };
}
