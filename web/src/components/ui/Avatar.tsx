import { useState, type CSSProperties } from "react";
import type { Status, SubjectId } from "../../api/types";
import { kindOf } from "../../lib/subjects";
import type { Profile } from "../../stores/profiles";
import styles from "./Avatar.module.css";
import { PresenceDot } from "./PresenceDot";

interface Props {
  subject: SubjectId;
  profile: Pick<Profile, "name" | "avatarUrl" | "color">;
  /** Pixels. */
  size?: number;
  /** Shown as a dot if it is given. */
  status?: Status | undefined;
}

/** A picture, or initials on the subject's colour. Agents' avatars have corners, people's are round. The name is beside it. */
export function Avatar({ subject, profile, size = 40, status }: Props) {
  const [broken, setBroken] = useState<string | null>(null);
  const shape = `${styles.image} ${kindOf(subject) === "agent" ? styles.agent : ""}`;
  const style = {
    "--size": `${size}px`,
    "--background": profile.color ?? colorOf(subject),
    "--letters": profile.color && isLight(profile.color) ? "#1c1712" : "#fff",
  } as CSSProperties;
  const hasPicture = profile.avatarUrl !== null && profile.avatarUrl !== broken;
  return (
    <span className={styles.frame} style={style}>
      {hasPicture && profile.avatarUrl ? (
        <img className={shape} src={profile.avatarUrl} alt="" loading="lazy" onError={() => setBroken(profile.avatarUrl)} />
      ) : (
        <span className={shape} aria-hidden="true">
          {initials(profile.name)}
        </span>
      )}
      {status && (
        <span className={styles.dot}>
          <PresenceDot state={status} />
        </span>
      )}
    </span>
  );
}

/** At most two letters: the initials of the first two words, or of the only one. */
export function initials(name: string): string {
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [];
  const letters = words.slice(0, 2).map((word) => /./su.exec(word)?.[0] ?? "");
  return letters.join("").toLocaleUpperCase() || "?";
}

/** The colour of a name, always the same. All colours are dark enough for white letters, and equally dark. */
export function colorOf(name: string): string {
  return `oklch(48% 0.1 ${hashOf(name) % 360})`;
}

/** Whether dark letters have more contrast than white ones on `#rrggbb` (WCAG 2, relative luminance). */
export function isLight(color: string): boolean {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > CONTRAST_THRESHOLD;
}

/** The luminance at which white and black letters have the same contrast: 1.05 / (x + 0.05) = (x + 0.05) / 0.05. */
const CONTRAST_THRESHOLD = 0.179;

export function hashOf(name: string): number {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  // Ids that differ in one letter get colours that differ, too.
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
}
