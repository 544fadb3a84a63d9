import type { NewVoice } from "../../api/types";
import { withoutContainerOfBrowser } from "./oggFile";

/** A finished voice message. */
export interface VoiceRecording {
  file: File;
  voice: NewVoice;
}

/** The formats of MediaRecorder; the one that most Matrix clients play comes first. */
const FORMATS = ["audio/ogg;codecs=opus", "audio/webm;codecs=opus", "audio/mp4"];
const SAMPLE_MS = 100;
/** The root mean square of a loud voice; that of silence is 0. */
const LOUD = 0.25;
const MAX_LOUDNESS = 1024;
/** The number of values that Element draws. */
const WAVEFORM_VALUES = 64;
const BITS_PER_SECOND = 32_000;

/** What happens to a recording while it runs. */
interface Listeners {
  /** Called with the loudness of each sample so far. */
  onSample: (loudness: readonly number[]) => void;
  /** Called if the recording ends by itself: the microphone was unplugged, or the page may no longer use it. */
  onEnd: () => void;
}

/** A running recording of the microphone. Exactly one of `stop` and `cancel` ends it; `stop` also after it ended by itself. */
export class RunningRecording {
  private readonly chunks: Blob[] = [];
  private readonly loudness: number[] = [];
  private readonly timer: ReturnType<typeof setInterval>;
  /** Resolves with the length in milliseconds once all chunks are there. */
  private readonly ended: Promise<number>;

  private constructor(
    private readonly stream: MediaStream,
    private readonly recorder: MediaRecorder,
    private readonly context: AudioContext,
    { onSample, onEnd }: Listeners,
  ) {
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      this.loudness.push(loudnessOf(samples));
      onSample(this.loudness);
    }, SAMPLE_MS);
    const startedAt = performance.now();
    recorder.ondataavailable = ({ data }) => this.chunks.push(data);
    this.ended = new Promise((resolve) => {
      recorder.onstop = () => {
        resolve(Math.round(performance.now() - startedAt));
        onEnd();
      };
    });
    recorder.start();
  }

  /** Ask for the microphone and start. Rejects with a DOMException if there is none, or the page may not use it. */
  static async start(listeners: Listeners): Promise<RunningRecording> {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    try {
      const mimeType = FORMATS.find((format) => MediaRecorder.isTypeSupported(format)) ?? "";
      const recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: BITS_PER_SECOND });
      return new RunningRecording(stream, recorder, new AudioContext(), listeners);
    } catch (error) {
      release(stream);
      throw error;
    }
  }

  async stop(name: string): Promise<VoiceRecording> {
    if (this.recorder.state !== "inactive") this.recorder.stop();
    const durationMs = await this.ended;
    this.release();
    const type = this.recorder.mimeType.split(";")[0] ?? "";
    const file = await withoutContainerOfBrowser(new Blob(this.chunks, { type }), name);
    return { file, voice: { duration_ms: durationMs, waveform: waveformOf(this.loudness) } };
  }

  cancel(): void {
    this.recorder.onstop = null;
    if (this.recorder.state !== "inactive") this.recorder.stop();
    this.release();
  }

  private release(): void {
    clearInterval(this.timer);
    release(this.stream);
    void this.context.close();
  }
}

/** Give the microphone back to the browser. */
function release(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/** The loudness of samples from -1 to 1, as 0 to 1024. */
export function loudnessOf(samples: Float32Array): number {
  const sum = samples.reduce((total, sample) => total + sample * sample, 0);
  return Math.round(Math.min(1, Math.sqrt(sum / Math.max(1, samples.length)) / LOUD) * MAX_LOUDNESS);
}

/** At most `WAVEFORM_VALUES` values of a recording, each the loudest of its part. */
export function waveformOf(loudness: readonly number[]): number[] {
  const count = Math.min(WAVEFORM_VALUES, loudness.length);
  return Array.from({ length: count }, (_, index) => {
    const from = Math.floor((index * loudness.length) / count);
    const upTo = Math.floor(((index + 1) * loudness.length) / count);
    return Math.max(...loudness.slice(from, upTo));
  });
}
