import { describe, expect, it } from "vitest";
import { EventParser, readEvents } from "./sse";

const STREAM = 'event: delta\r\ndata: {"text":"Озелен"}\r\n\r\n: comment\n\nevent: delta\ndata: a\ndata:b\nid: 5\n\ndata: c\r\r';

function parse(pieces: string[]) {
  const parser = new EventParser();
  return pieces.flatMap((piece) => [...parser.feed(piece)]);
}

const EVENTS = [
  { event: "delta", data: '{"text":"Озелен"}' },
  { event: "delta", data: "a\nb" },
];

describe("server-sent events", () => {
  it("do not depend on chunk boundaries", () => {
    expect(parse([STREAM]).slice(0, 2)).toEqual(EVENTS);
    expect(parse(Array.from(STREAM)).slice(0, 2)).toEqual(EVENTS);
    for (let cut = 1; cut < STREAM.length; cut++) {
      expect(parse([STREAM.slice(0, cut), STREAM.slice(cut)]).slice(0, 2)).toEqual(EVENTS);
    }
  });

  it("are decoded across a cut in a UTF-8 sequence", async () => {
    const bytes = new TextEncoder().encode("event: delta\ndata: Їжак\n\n");
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    const events = [];
    for await (const event of readEvents(stream)) events.push(event);
    expect(events).toEqual([{ event: "delta", data: "Їжак" }]);
  });

  it("cancel the request when the reader stops", async () => {
    let isCancelled = false;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode("data: a\n\ndata: b\n\n")),
      cancel: () => void (isCancelled = true),
    });
    for await (const event of readEvents(stream)) {
      expect(event.data).toBe("a");
      break;
    }
    expect(isCancelled).toBe(true);
  });
});
