import { create } from "zustand";
import { setCredentials } from "../api/http";
import { subscribeToPresence } from "../lib/globalPresenceClient";
import { isSignInExpected, readToken, extractSignInToken, type Session } from "../lib/session";
import { wantsPush } from "../lib/notifications";
import { serverNow } from "../lib/serverTime";
import { hasLocalStorage, setLocalItem, setSessionItem, getLocalItem, getSessionItem } from "../lib/storage";

const KEY = "city.session";
const SIGN_IN_STARTED_KEY = "city.session.left";
const LAST_USER_KEY = "city.session.last";
const SUBJECT_KEY = "city.session.subject";

interface SessionState {
  session: Session | null;
  /** The subject of the citizen in the city's responses: a linked Matrix account, else the citizen. */
  subject: string | null;
  /** The id of the citizen who was signed in last, and who may have entries in the outbox. */
  lastUserId: string | null;
  /** Whether the city rejected the token: then the citizen is asked to sign in again. */
  isExpired: boolean;
  /** Whether the dialog to sign in is open. */
  isSignInOpen: boolean;
  afterSignIn: (() => void) | null;
  signIn: (token: string) => boolean;
  setSubject: (userId: string, subject: string) => void;
  signOut: () => void;
  syncWithStorage: () => void;
  expire: (token: string) => void;
  /** `then` is an action that needs a signed-in citizen; it runs after the sign-in. */
  setSignInOpen: (isAsking: boolean, then?: () => void) => void;
}

const storedSession = readToken(getLocalItem(KEY) ?? "", serverNow(Date.now()));

export const useSession = create<SessionState>((set, get) => ({
  session: storedSession,
  subject: storedSession && subjectOfCitizen(storedSession.userId),
  lastUserId: getLocalItem(LAST_USER_KEY),
  isExpired: false,
  isSignInOpen: false,
  afterSignIn: null,
  /** False for an invalid token. */
  signIn: (token) => {
    const session = readToken(token, serverNow(Date.now()));
    if (!session) return false;
    setLocalItem(KEY, token);
    setLocalItem(LAST_USER_KEY, session.userId);
    const { afterSignIn: then } = get();
    const subject = subjectOfCitizen(session.userId);
    set({ session, subject, lastUserId: session.userId, isExpired: false, isSignInOpen: false, afterSignIn: null });
    then?.();
    return true;
  },
  setSubject: (userId, subject) => {
    if (get().session?.userId !== userId) return;
    setLocalItem(SUBJECT_KEY, `${userId} ${subject}`);
    set({ subject });
  },
  signOut: () => {
    const { session } = get();
    if (session && wantsPush()) endPush(session.token);
    setLocalItem(KEY, null);
    set({ session: null, subject: null, isExpired: false });
  },
  /** Follow a sign-in or sign-out in another tab; this tab may have slept meanwhile. */
  syncWithStorage: () => {
    const token = getLocalItem(KEY);
    const { session, signIn } = get();
    if (token === (session?.token ?? null)) return;
    if (token === null || !signIn(token)) set({ session: null, subject: null, isExpired: false });
  },
  /** End the session if this token is still in use: a response to an old request says nothing about a new token. */
  expire: (token) => {
    if (get().session?.token !== token) return;
    setLocalItem(KEY, null);
    set({ session: null, subject: null, isExpired: true, isSignInOpen: true });
  },
  setSignInOpen: (isAsking, then) => set({ isSignInOpen: isAsking, afterSignIn: then ?? null }),
}));

function endPush(token: string): void {
  void import("../lib/push").then(({ unsubscribeFromPush }) => unsubscribeFromPush(token)).catch(() => undefined);
}

/** The last known subject of a citizen: a page without a connection has no other source. */
function subjectOfCitizen(userId: string): string {
  const stored = getLocalItem(SUBJECT_KEY) ?? "";
  return stored.startsWith(`${userId} `) ? stored.slice(userId.length + 1) : userId;
}

/** To be called when the reader leaves for the sign-in page. */
export function startExternalSignIn(): void {
  setSessionItem(SIGN_IN_STARTED_KEY, String(Date.now()));
}

/** Restore the session. To be called once, before the first render. */
export function initSession(): void {
  const { token, href } = extractSignInToken(location.href);
  if (token !== null) {
    history.replaceState(history.state, "", href);
    if (isSignInExpected(getSessionItem(SIGN_IN_STARTED_KEY), Date.now())) useSession.getState().signIn(token);
    else useSession.getState().setSignInOpen(true);
    setSessionItem(SIGN_IN_STARTED_KEY, null);
  }
  const { syncWithStorage: follow, expire: end } = useSession.getState();
  setCredentials({
    token: () => useSession.getState().session?.token ?? null,
    userId: () => useSession.getState().session?.userId ?? null,
    onTokenRejected: end,
  });
  subscribeToPresence({ onTokenRejected: end });
  // A browser without storage has nothing to follow: `syncWithStorage` would sign everybody out.
  if (!hasLocalStorage()) return;
  addEventListener("storage", ({ key }) => {
    if (key === KEY || key === null) follow();
  });
  // A page that was frozen, or in the back/forward cache, has missed the events.
  addEventListener("pageshow", follow);
  document.addEventListener("visibilitychange", follow);
}
