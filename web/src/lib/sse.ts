import { pageClock } from "./clock";
import { withTimeout } from "./timeout";

export interface ServerSentEvent {
  event: string;
  data: string;
}

/** The city sends a comment every 15 seconds: a stream that is silent for this long is dead. Milliseconds. */
const SILENT_MS = 45_000;

/**
 * The events of a `text/event-stream`, as the HTML standard parses them (§9.2.6).
 *
 * EventSource can neither POST nor send a header, which a request to Second Me needs. Raises Problem when the stream falls
 * silent.
 */
export async function* readEvents(stream: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const parser = new EventParser();
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await withTimeout(pageClock, SILENT_MS, reader.read());
      if (done) return;
      yield* parser.feed(decoder.decode(value, { stream: true }));
    }
  } finally {
    // A consumer that stops reading ends the request.
    await reader.cancel().catch(() => undefined);
  }
}

export class EventParser {
  private rest = "";
  private event = "";
  private data: string[] = [];

  /** The events that `text` completes. */
  *feed(text: string): Generator<ServerSentEvent> {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.parseLine(line);
      if (event) yield event;
    }
  }

  private parseLine(line: string): ServerSentEvent | null {
    if (line === "") return this.dispatch();
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "event") this.event = value ?? "";
    if (field === "data") this.data.push(value ?? "");
    return null;
  }

  private dispatch(): ServerSentEvent | null {
    const { event, data } = this;
    this.event = "";
    this.data = [];
    return data.length ? { event: event || "message", data: data.join("\n") } : null;
  }
}
