import { newId } from "../../lib/ids";

/*
 * Browsers partition the storage of a frame by the site around it, so that a frame does not see a sign-in of the city's own pages.
 * The frame opens a window of the city, which has that storage, and this window hands the token over to its opener. Both documents
 * are of the same origin; the message is addressed to that origin, and says which request it answers.
 */

const PATH = "/embed/sign-in";
const FEATURES = "popup,width=440,height=600";
const STATE = "state";

interface Handover {
  city: "session";
  state: string;
  token: string;
}

/** The id of this document's request, which the window must send back with the token. */
const state = newId();

export const signInPath = `${PATH}?${STATE}=${state}`;

/** Open the sign-in window. Returns whether the browser allowed it. */
export function openSignInWindow(): boolean {
  return open(signInPath, "city-sign-in", FEATURES) !== null;
}

/** Call `onToken` with the token that the window hands over. Returns a function that stops it. */
export function listenForToken(onToken: (token: string) => void): () => void {
  const receive = ({ data, origin }: MessageEvent<Partial<Handover> | null>) => {
    if (origin !== location.origin || data?.city !== "session" || data.state !== state) return;
    if (typeof data.token === "string") onToken(data.token);
  };
  addEventListener("message", receive);
  return () => removeEventListener("message", receive);
}

/** Hand the token to the chat that opened this window. Returns whether that chat is still there. */
export function handOver(token: string): boolean {
  const opener = window.opener as Window | null;
  const asked = new URLSearchParams(location.search).get(STATE);
  if (opener === null || opener.closed || asked === null) return false;
  const message: Handover = { city: "session", state: asked, token };
  opener.postMessage(message, location.origin);
  return true;
}
