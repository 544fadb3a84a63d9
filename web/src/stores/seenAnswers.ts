import { setSeenReader } from "../lib/seenAnswers";
import { useSession } from "./session";

/** To be called once, after the session has begun: what was seen belongs to whoever is signed in. */
export function initSeenAnswers(): void {
  void setSeenReader(useSession.getState().session?.userId ?? null);
  useSession.subscribe(({ session }, before) => {
    if (session?.userId !== before.session?.userId) void setSeenReader(session?.userId ?? null);
  });
}
