import { city } from "../../api/city";
import { Problem, problemOf } from "../../api/problem";
import type { Interaction } from "../../api/types";
import { readEvents } from "../../lib/sse";

/**
 * Ask the reader's Second Me. `onText` is called with the answer so far, each time it has grown.
 *
 * Returns the whole interaction. Raises Problem, and AbortError when `signal` aborts.
 */
export async function streamReply(prompt: string, onText: (answer: string) => void, signal: AbortSignal): Promise<Interaction> {
  const response = await city.askSecondMe(prompt, signal);
  if (!response.body) throw new Problem(0, "unreachable", "the answer has no body");
  let answer = "";
  for await (const { event, data } of readEvents(response.body)) {
    if (event === "delta") onText((answer += (JSON.parse(data) as { text: string }).text));
    if (event === "done") return JSON.parse(data) as Interaction;
    if (event === "error") throw problemOf((JSON.parse(data) as { status: number }).status, data, null);
  }
  throw new Problem(0, "unreachable", "the answer broke off");
}
