import { setCacheReader } from "../lib/responseCache";
import { useSession } from "./session";

/** Store responses for the citizen who is signed in. To be called once, after `initSession`. */
export function initResponseCache(): void {
  void setCacheReader(useSession.getState().session?.userId ?? null);
  useSession.subscribe(({ session }, before) => {
    if (session?.userId !== before.session?.userId) void setCacheReader(session?.userId ?? null);
  });
}
