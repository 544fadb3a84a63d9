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

/** A running recording of the microphone. Exactly one of `stop` and `cancel` ends it. */
export class RunningRecording {
  private readonly chunks: Blob[] = [];
  private readonly loudness: number[] = [];
  private readonly timer: ReturnType<typeof setInterval>;

  private constructor(
    private readonly stream: MediaStream,
    private readonly recorder: MediaRecorder,
    private readonly context: AudioContext,
    private readonly startedAt: number,
    onSample: (loudness: readonly number[]) => void,
  ) {
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      this.loudness.push(loudnessOf(samples));
      onSample(this.loudness);
    }, SAMPLE_MS);
    recorder.ondataavailable = ({ data }) => this.chunks.push(data);
    recorder.start();
  }

  /** Ask for the microphone and start. Rejects with a DOMException if there is none, or the page may not use it. */
  static async start(onSample: (loudness: readonly number[]) => void): Promise<RunningRecording> {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    const mimeType = FORMATS.find((format) => MediaRecorder.isTypeSupported(format)) ?? "";
    const recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: BITS_PER_SECOND });
    return new RunningRecording(stream, recorder, new AudioContext(), performance.now(), onSample);
  }

  async stop(name: string): Promise<VoiceRecording> {
    const durationMs = Math.round(performance.now() - this.startedAt);
    const type = this.recorder.mimeType.split(";")[0] ?? "";
    const stopped = new Promise((resolve) => {
      this.recorder.onstop = resolve;
    });
    this.recorder.stop();
    await stopped;
    this.release();
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
    for (const track of this.stream.getTracks()) track.stop();
    void this.context.close();
  }
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
