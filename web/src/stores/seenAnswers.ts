import { setSeenReader } from "../lib/seenAnswers";
import { useSession } from "./session";

/** Store responses for the citizen who is signed in. To be called once, after `initSession`. */
export function initSeenAnswers(): void {
  void setSeenReader(useSession.getState().session?.userId ?? null);
  useSession.subscribe(({ session }, before) => {
    if (session?.userId !== before.session?.userId) void setSeenReader(session?.userId ?? null);
  });
}
