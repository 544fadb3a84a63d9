import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState, type CSSProperties } from "react";
import { queries } from "../../../api/queries";
import styles from "./LinkCard.module.css";

interface Props {
  url: string;
  /** The height and margin of the card, reserved before the preview is loaded. */
  place: CSSProperties;
}

/** The preview of a linked page, loaded when the card comes into view. Nothing is rendered if the page has none. */
export default function LinkCard({ url, place }: Props) {
  const ref = useRef<HTMLDivElement>(null);
  const [isSeen, setSeen] = useState(false);
  const { data: preview, isError } = useQuery({ ...queries.preview(url), enabled: isSeen });
  useEffect(() => {
    const sight = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) setSeen(true);
    });
    if (ref.current) sight.observe(ref.current);
    return () => sight.disconnect();
  }, []);

  if (preview === null || isError) return null;
  if (!preview) return <div ref={ref} style={place} />;
  return (
    <a className={styles.card} style={place} href={url} target="_blank" rel="noopener noreferrer nofollow">
      <span className={styles.words}>
        <small dir="auto">{preview.site_name || new URL(url).hostname}</small>
        {preview.title && <strong dir="auto">{preview.title}</strong>}
        {preview.description && (
          <span className={styles.description} dir="auto">
            {preview.description}
          </span>
        )}
      </span>
      {preview.image_url && <Picture path={preview.image_url} />}
    </a>
  );
}

/** The picture of a preview. The city requires a token for it, and an `<img>` sends none. */
function Picture({ path }: { path: string }) {
  const { data: blob, isError } = useQuery(queries.previewImage(path));
  const [source, setSource] = useState<string | null>(null);
  useEffect(() => {
    if (!blob) return undefined;
    const made = URL.createObjectURL(blob);
    // The browser keeps an object URL until it is revoked, so its life is that of this effect.
    // eslint-disable-next-line react-hooks/set-state-in-effect
    setSource(made);
    return () => URL.revokeObjectURL(made);
  }, [blob]);
  if (isError) return null;
  return <span className={styles.picture}>{source && <img src={source} alt="" />}</span>;
}
