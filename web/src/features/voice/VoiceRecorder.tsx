import { useEffect, useEffectEvent, useRef, useState } from "react";
import { Button, IconButton } from "../../components/ui/Button";
import { Icon } from "../../components/ui/Icon";
import { useTranslation } from "../../lib/i18n";
import { formatDuration, VoiceMessage } from "../city/rooms/VoiceMessage";
import { RunningRecording, type VoiceRecording } from "./recording";
import styles from "./VoiceRecorder.module.css";

/** A recording stops automatically after this time, in milliseconds. */
const MAX_MS = 10 * 60_000;
const SHOWN_BARS = 48;
const LOUDEST = 1024;

interface Props {
  /** Called to send the recording. False if it is not accepted: then it stays. */
  onSend: (recording: VoiceRecording) => boolean;
  /** Called when the recording was sent or cancelled. */
  onDone: () => void;
}

type State = "asking" | "recording" | "stopping" | "denied";

/** Records a voice message, which can be stopped, played and cancelled before it is sent. */
export default function VoiceRecorder({ onSend, onDone }: Props) {
  const { t } = useTranslation();
  const [state, setState] = useState<State>("asking");
  const [loudness, setLoudness] = useState<readonly number[]>([]);
  const [finished, setFinished] = useState<VoiceRecording | null>(null);
  const running = useRef<RunningRecording | null>(null);
  const elapsed = useElapsed(state === "recording");

  const stop = async (): Promise<VoiceRecording | null> => {
    const recording = running.current;
    if (!recording) return finished;
    running.current = null;
    setState("stopping");
    const made = await recording.stop(t("voice.filename"));
    setFinished(made);
    return made;
  };
  const stopAtEnd = useEffectEvent(() => void stop());
  useEffect(() => {
    let isGone = false;
    RunningRecording.start({
      onSample: (values) => setLoudness(values.slice(-SHOWN_BARS)),
      onEnd: () => stopAtEnd(),
    }).then(
      (started) => {
        if (isGone) {
          started.cancel();
          return;
        }
        running.current = started;
        setState("recording");
      },
      () => !isGone && setState("denied"),
    );
    return () => {
      isGone = true;
      running.current?.cancel();
      running.current = null;
    };
  }, []);

  const isTooLong = elapsed >= MAX_MS;
  useEffect(() => {
    if (isTooLong) stopAtEnd();
  }, [isTooLong]);
  const send = async () => {
    const made = await stop();
    if (made && onSend(made)) onDone();
  };

  return (
    // All actions have buttons for the keyboard: Escape is a shortcut.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <div
      className={styles.recorder}
      role="group"
      aria-label={t("voice.recorder")}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onDone();
      }}
    >
      <IconButton icon="bin" label={t("voice.cancel")} onClick={onDone} />
      {state === "denied" && <p role="alert">{t("voice.denied")}</p>}
      {state === "asking" && <p role="status">{t("voice.asking")}</p>}
      {finished ? (
        <Review recording={finished} />
      ) : (
        state === "recording" && (
          <>
            <span className={styles.dot} aria-hidden="true" />
            <time role="timer" aria-label={t("voice.elapsed")}>
              {formatDuration(elapsed / 1_000)}
            </time>
            <LiveBars loudness={loudness} />
            {/* A reader who started the recording by keyboard can continue by keyboard. */}
            {/* eslint-disable-next-line jsx-a11y/no-autofocus */}
            <IconButton autoFocus icon="stop" label={t("voice.stop")} onClick={() => void stop()} />
          </>
        )
      )}
      {(state === "recording" || finished) && (
        <Button variant="main" className={styles.send ?? ""} aria-label={t("voice.send")} onClick={() => void send()}>
          <Icon name="send" />
        </Button>
      )}
    </div>
  );
}

/** Milliseconds since `isRunning` began. */
function useElapsed(isRunning: boolean): number {
  const [elapsed, setElapsed] = useState(0);
  useEffect(() => {
    if (!isRunning) return undefined;
    const from = performance.now();
    const timer = setInterval(() => setElapsed(performance.now() - from), 200);
    return () => clearInterval(timer);
  }, [isRunning]);
  return elapsed;
}

function Review({ recording: { file, voice } }: { recording: VoiceRecording }) {
  const [src, setSrc] = useState<string>();
  useEffect(() => {
    const url = URL.createObjectURL(file);
    const frame = requestAnimationFrame(() => setSrc(url));
    return () => {
      cancelAnimationFrame(frame);
      URL.revokeObjectURL(url);
    };
  }, [file]);
  const media = { duration_ms: voice.duration_ms, waveform: voice.waveform ?? [] };
  return src === undefined ? null : <VoiceMessage media={media} src={src} onError={() => undefined} />;
}

function LiveBars({ loudness }: { loudness: readonly number[] }) {
  return (
    <span className={styles.bars} aria-hidden="true">
      {loudness.map((value, index) => (
        <span key={index} style={{ blockSize: `${Math.round(10 + (value / LOUDEST) * 90)}%` }} />
      ))}
    </span>
  );
}
