import { useEffect, useEffectEvent, useRef, useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import type { Media } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import styles from "./VoiceMessage.module.css";

interface Props {
  media: Pick<Media, "duration_ms" | "waveform">;
  src: string;
  onError: () => void;
}

const BARS = 40;
const LOUDEST = 1024;

/** A voice message: its length, and its loudness as bars, which show how much has been played. */
export function VoiceMessage({ media, src, onError }: Props) {
  const { t } = useTranslation();
  const audio = useRef<HTMLAudioElement>(null);
  const [isPlaying, setPlaying] = useState(false);
  const [at, setAt] = useState(0);
  const [length, setLength] = useState((media.duration_ms ?? 0) / 1_000);
  /** Whether the reader wants it to be played: the file may be loaded twice before it can be. */
  const isWanted = useRef(false);
  const play = () => void audio.current?.play().catch(() => setPlaying(false));
  const toggle = () => {
    isWanted.current = !isPlaying;
    if (isPlaying) audio.current?.pause();
    else play();
  };
  const playWanted = useEffectEvent(() => {
    if (isWanted.current) play();
  });
  // The file comes from another URL if the city refuses it without a token.
  useEffect(() => playWanted(), [src]);
  const seek = (seconds: number) => {
    setAt(seconds);
    if (audio.current) audio.current.currentTime = seconds;
  };
  return (
    <div className={styles.voice} role="group" aria-label={t("room.voice")}>
      {/* The words of a recording are unknown here, so there are no captions. */}
      {/* eslint-disable-next-line jsx-a11y/media-has-caption */}
      <audio
        ref={audio}
        src={src}
        preload={media.duration_ms === null ? "metadata" : "none"}
        onError={onError}
        onPlay={() => setPlaying(true)}
        onPause={() => setPlaying(false)}
        onEnded={() => {
          isWanted.current = false;
          setAt(0);
        }}
        onTimeUpdate={({ currentTarget }) => setAt(currentTarget.currentTime)}
        onDurationChange={({ currentTarget: { duration } }) => {
          // Recordings made by browsers have a finite duration only at their end.
          if (Number.isFinite(duration)) setLength(duration);
        }}
      />
      <IconButton icon={isPlaying ? "pause" : "play"} label={t(isPlaying ? "room.pause" : "room.play")} onClick={toggle} />
      <span className={styles.track}>
        <Bars waveform={media.waveform} played={length > 0 ? at / length : 0} />
        <input
          type="range"
          className={styles.seek}
          min={0}
          max={Math.max(length, 0.1)}
          step={0.1}
          value={Math.min(at, length)}
          aria-label={t("room.voicePosition")}
          aria-valuetext={formatDuration(at)}
          onChange={({ target }) => seek(Number(target.value))}
        />
      </span>
      <time className={styles.length}>{formatDuration(isPlaying || at > 0 ? at : length)}</time>
    </div>
  );
}

function Bars({ waveform, played }: { waveform: readonly number[]; played: number }) {
  const heights = barHeights(waveform, BARS);
  return (
    <span className={styles.bars} aria-hidden="true">
      {heights.map((height, index) => (
        <span
          key={index}
          className={index < played * heights.length ? styles.played : undefined}
          style={{ blockSize: `${Math.round(12 + height * 88)}%` }}
        />
      ))}
    </span>
  );
}

/** Scale a waveform to `count` heights of 0 to 1, each that of the loudest of its values. Without a waveform all are low. */
export function barHeights(waveform: readonly number[], count: number): number[] {
  return Array.from({ length: count }, (_, bar) => {
    const from = Math.floor((bar * waveform.length) / count);
    const upTo = Math.max(from + 1, Math.floor(((bar + 1) * waveform.length) / count));
    return Math.min(1, Math.max(0, ...waveform.slice(from, upTo)) / LOUDEST);
  });
}

/** Seconds as `1:05`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
