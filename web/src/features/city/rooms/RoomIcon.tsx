import { useState } from "react";
import { colorOf, hashOf } from "../../../components/ui/Avatar";

const ROOFS = ["M3 19 22 5l19 14z", "M3 19 9 8h26l6 11z", "M5 19C5 4 39 4 39 19z", "M3 19V11h38v8z"];

interface Props {
  slug: string;
  isLit: boolean;
  size?: number;
  /** The picture of the room, if it has one. */
  url?: string | null | undefined;
}

/** The picture of a room, or a house with a roof and colour of its own. It is lit if a member is online. */
export function RoomIcon({ slug, isLit: isOccupied, size = 44, url }: Props) {
  const [broken, setBroken] = useState<string>();
  if (url && url !== broken) {
    const boxShadow = isOccupied ? "0 0 0 2px var(--window-lit)" : "";
    const style = { borderRadius: "22%", objectFit: "cover", boxShadow } as const;
    return <img src={url} alt="" width={size} height={size} loading="lazy" style={style} onError={() => setBroken(url)} />;
  }
  const color = colorOf(slug);
  const roof = ROOFS[hashOf(slug) % ROOFS.length];
  const window = isOccupied ? "var(--window-lit)" : "var(--window-dark)";
  return (
    <svg width={size} height={size} viewBox="0 0 44 44" aria-hidden="true" focusable="false">
      <rect x="6" y="18" width="32" height="22" fill={color} fillOpacity="0.32" />
      <path d={roof} fill={color} />
      <path d="M18.500 40V31a3.500 3.500 0 0 1 7 0v9z" fill={color} />
      <rect x="10" y="23" width="5.500" height="7" rx="1.500" fill={window} />
      <rect x="28.500" y="23" width="5.500" height="7" rx="1.500" fill={window} />
    </svg>
  );
}
