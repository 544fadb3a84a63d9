import { useState, type CSSProperties } from "react";
import type { Status, SubjectId } from "../../api/types";
import { kindOf } from "../../lib/subjects";
import type { Face } from "../../stores/people";
import styles from "./Avatar.module.css";
import { PresenceDot } from "./PresenceDot";

interface Props {
  subject: SubjectId;
  face: Face;
  /** Pixels. */
  size?: number;
  /** Shown as a dot where it is given. */
  status?: Status | undefined;
}

/** A picture, or initials on a colour of one's own. Agents have corners, people are round. The name stands beside it. */
export function Avatar({ subject, face, size = 40, status }: Props) {
  const [broken, setBroken] = useState<string | null>(null);
  const shape = `${styles.face} ${kindOf(subject) === "agent" ? styles.agent : ""}`;
  const style = { "--size": `${size}px`, "--face": face.color ?? colorOf(subject) } as CSSProperties;
  const hasPicture = face.avatarUrl !== null && face.avatarUrl !== broken;
  return (
    <span className={styles.frame} style={style}>
      {hasPicture && face.avatarUrl ? (
        <img className={shape} src={face.avatarUrl} alt="" loading="lazy" onError={() => setBroken(face.avatarUrl)} />
      ) : (
        <span className={shape} aria-hidden="true">
          {initials(face.name)}
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

/** At most two letters: of the first two words, or of the only one. */
export function initials(name: string): string {
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [];
  const letters = words.slice(0, 2).map((word) => /./su.exec(word)?.[0] ?? "");
  return letters.join("").toLocaleUpperCase() || "?";
}

/** Always the same for the same name; dark enough for white letters. */
export function colorOf(name: string): string {
  return `hsl(${hashOf(name) % 360} 38% 40%)`;
}

export function hashOf(name: string): number {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  // Ids that differ in one letter get colours that differ, too.
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
}
