import { useState, type CSSProperties } from "react";
import { useTranslation } from "../../../lib/i18n";
import type { Media, Message } from "../../../api/types";
import { Icon } from "../../../components/ui/Icon";
import { Name } from "../../../components/ui/Name";
import { useMediaUrl } from "../../../hooks/useMediaUrl";
import { plainName } from "../../../lib/names";
import { formatBytes } from "../../../lib/formatBytes";
import { usePictureViewer, type Picture as ShownPicture } from "../../../stores/pictureViewer";
import styles from "./MediaView.module.css";
import { useConversation } from "./useRoom";
import { VoiceMessage } from "./VoiceMessage";

/**
 * The media types that browsers show. Other files, and files that turn out to be damaged, can be downloaded. Events need not name
 * a type: then the browser finds out.
 */
const SHOWN_TYPES: Record<string, RegExp> = {
  "m.image": /^(image\/(png|apng|jpeg|jpg|gif|webp|avif)|application\/octet-stream)$/i,
  "m.audio": /^(audio\/|application\/octet-stream$)/i,
  "m.video": /^(video\/|application\/octet-stream$)/i,
};

/** The file of a message. */
export function MediaView({ media, msgtype }: { media: ShownPicture; msgtype: string }) {
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
  media: ShownPicture;
  url: string;
  onBroken: () => void;
}

/** The height of a picture of unknown size, in pixels, before and after it is loaded. */
const UNKNOWN_HEIGHT_PX = 192;
const MAX_WIDTH_PX = 352;
const MAX_HEIGHT_PX = 320;
const MAX_STICKER_PX = 192;
const UNKNOWN_STICKER_PX = 128;
/** The least width and height of what is shown: the announced size may be wrong, and nobody finds a speck. */
const MIN_PX = 32;

function Picture({ media, url, onBroken }: ShownProps) {
  const { t } = useTranslation();
  const conversation = useConversation();
  const [source, setSource] = useState(media.thumbnail_url ?? url);
  const small = useMediaUrl(source, () => (source === url ? onBroken() : setSource(url)));
  const name = plainName(media.filename);
  const open = () => {
    const pictures = picturesOf(conversation.store.getState().timeline.messages);
    const index = pictures.findIndex((each) => each.url === url);
    // A picture that is being sent is behind those of the messages.
    usePictureViewer.getState().open(index < 0 ? [...pictures, media] : pictures, index < 0 ? pictures.length : index);
  };
  return (
    <button type="button" className={styles.opener} aria-label={t("room.imageOpen", { name })} onClick={open}>
      <img {...small} className={styles.picture} style={placeOf(media)} alt="" />
    </button>
  );
}

/** The pictures of messages that the picture viewer can show. */
export function picturesOf(messages: readonly Message[]): Media[] {
  return messages.flatMap(({ media, msgtype, deleted }) => {
    const isPicture = media?.url && msgtype === "m.image" && !media.sticker && SHOWN_TYPES["m.image"]?.test(media.mimetype);
    return isPicture && !deleted ? [media] : [];
  });
}

/** The size of a picture, reserved before it is loaded, so that nothing moves. */
function placeOf({ width, height }: Media): CSSProperties {
  if (!width || !height) return { height: UNKNOWN_HEIGHT_PX };
  return scaled(width, height, Math.min(1, MAX_WIDTH_PX / width, MAX_HEIGHT_PX / height));
}

function scaled(width: number, height: number, scale: number): CSSProperties {
  return { width: width * scale, aspectRatio: `${width} / ${height}`, minWidth: MIN_PX, minHeight: MIN_PX };
}

/** A sticker has its own size up to a maximum, and does not open the viewer. */
function Sticker({ media, url, onBroken }: ShownProps) {
  const shown = useMediaUrl(url, onBroken);
  const { width, height } = media;
  const scale = width && height ? Math.min(1, MAX_STICKER_PX / width, MAX_STICKER_PX / height) : 1;
  const place = width && height ? scaled(width, height, scale) : { height: UNKNOWN_STICKER_PX };
  return (
    <img {...shown} className={styles.sticker} style={place} alt={plainName(media.filename)} title={plainName(media.filename)} />
  );
}

function Voice({ media, url, onBroken }: ShownProps) {
  return <VoiceMessage media={media} {...useMediaUrl(url, onBroken)} />;
}

function Player({ media, url, onBroken, isVideo }: ShownProps & { isVideo: boolean }) {
  const props = {
    ...useMediaUrl(url, onBroken),
    className: styles.player,
    controls: true,
    "aria-label": plainName(media.filename),
  };
  // The words of a recording are unknown here, so there are no captions.
  // eslint-disable-next-line jsx-a11y/media-has-caption
  return isVideo ? <video {...props} preload="metadata" style={placeOf(media)} /> : <audio {...props} preload="metadata" />;
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
