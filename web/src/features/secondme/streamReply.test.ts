import { describe, expect, it, vi } from "vitest";
import { streamReply } from "./streamReply";

function answer(text: string): void {
  vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response(text, { headers: { "Content-Type": "text/event-stream" } }));
}

const DELTAS = 'event: delta\ndata: {"text":"Озеленіть"}\n\n: still here\n\nevent: delta\ndata: {"text":" дахи."}\n\n';
const ask = (told: (answer: string) => void = () => undefined) => streamReply("Порадь ідею", told, new AbortController().signal);

describe("a question to Second Me", () => {
  it("streams chunks and returns the interaction", async () => {
    answer(`${DELTAS}event: done\ndata: {"id":"i1","response":"Озеленіть дахи."}\n\n`);
    const told: string[] = [];
    expect(await ask((so) => told.push(so))).toEqual({ id: "i1", response: "Озеленіть дахи." });
    expect(told).toEqual(["Озеленіть", "Озеленіть дахи."]);
  });

  it("fails with the problem of the response", async () => {
    answer(`${DELTAS}event: error\ndata: {"status":504,"code":"core_timeout","detail":"…"}\n\n`);
    await expect(ask()).rejects.toMatchObject({ status: 504, code: "core_timeout" });
  });

  it("fails when the stream is cut off", async () => {
    answer(DELTAS);
    await expect(ask()).rejects.toMatchObject({ code: "unreachable" });
  });
});
