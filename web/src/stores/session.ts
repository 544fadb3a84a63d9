import { create } from "zustand";
import { setCredentials } from "../api/http";
import { subscribeToPresence } from "../lib/globalPresenceClient";
import { isExpected, readToken, takeReturnedToken, type Session } from "../lib/session";
import { serverNow } from "../lib/serverTime";
import { canKeep, keep, keepInTab, kept, keptInTab } from "../lib/storage";

const KEY = "city.session";
const LEFT_AT = "city.session.left";
const LAST_USER = "city.session.last";

interface SessionState {
  session: Session | null;
  /** The citizen who was signed in last, by id: what they left waiting is said to them. */
  lastUserId: string | null;
  /** The city no longer believed the token: whoever was signed in is asked to do so again. */
  hasEnded: boolean;
  /** Whether the dialog to sign in is open. */
  isAsking: boolean;
  then: (() => void) | null;
  signIn: (token: string) => boolean;
  signOut: () => void;
  follow: () => void;
  end: (token: string) => void;
  /** `then` is what was to be done and needs somebody who is signed in. */
  ask: (isAsking: boolean, then?: () => void) => void;
}

export const useSession = create<SessionState>((set, get) => ({
  session: readToken(kept(KEY) ?? "", serverNow(Date.now())),
  lastUserId: kept(LAST_USER),
  hasEnded: false,
  isAsking: false,
  then: null,
  /** False for what is no valid token. */
  signIn: (token) => {
    const session = readToken(token, serverNow(Date.now()));
    if (!session) return false;
    keep(KEY, token);
    keep(LAST_USER, session.userId);
    const { then } = get();
    set({ session, lastUserId: session.userId, hasEnded: false, isAsking: false, then: null });
    then?.();
    return true;
  },
  signOut: () => {
    keep(KEY, null);
    set({ session: null, hasEnded: false });
  },
  /** Another tab signed in or out; this one may have slept meanwhile. */
  follow: () => {
    const token = kept(KEY);
    const { session, signIn } = get();
    if (token === (session?.token ?? null)) return;
    if (token === null || !signIn(token)) set({ session: null, hasEnded: false });
  },
  /** Only if it is still the token in use: an answer to an old request says nothing about a new one. */
  end: (token) => {
    if (get().session?.token !== token) return;
    keep(KEY, null);
    set({ session: null, hasEnded: true, isAsking: true });
  },
  ask: (isAsking, then) => set({ isAsking, then: then ?? null }),
}));

/** To be called when somebody goes to sign in elsewhere. */
export function leaveToSignIn(): void {
  keepInTab(LEFT_AT, String(Date.now()));
}

/** To be called once, before anything is shown. */
export function beginSession(): void {
  const { token, href } = takeReturnedToken(location.href);
  if (token !== null) {
    history.replaceState(history.state, "", href);
    if (isExpected(keptInTab(LEFT_AT), Date.now())) useSession.getState().signIn(token);
    else useSession.getState().ask(true);
    keepInTab(LEFT_AT, null);
  }
  const { follow, end } = useSession.getState();
  setCredentials({
    token: () => useSession.getState().session?.token ?? null,
    refused: end,
  });
  subscribeToPresence({ refused: end });
  // A browser without storage has nothing to follow: `kept` would sign everybody out.
  if (!canKeep()) return;
  addEventListener("storage", ({ key }) => {
    if (key === KEY || key === null) follow();
  });
  // A page that was frozen, or kept for "back", heard nothing.
  addEventListener("pageshow", follow);
  document.addEventListener("visibilitychange", follow);
}
