import { create } from "zustand";
import { setCredentials } from "../api/http";
import { isExpected, readToken, takeReturnedToken, type Session } from "../lib/session";
import { keep, keepInTab, kept, keptInTab } from "../lib/storage";

const KEY = "city.session";
const LEFT_AT = "city.session.left";

interface SessionState {
  session: Session | null;
  /** The city no longer believed the token: whoever was signed in is asked to do so again. */
  hasEnded: boolean;
  /** Whether the dialog to sign in is open. */
  isAsking: boolean;
  signIn: (token: string) => boolean;
  signOut: () => void;
  end: (token: string) => void;
  ask: (isAsking: boolean) => void;
}

export const useSession = create<SessionState>((set, get) => ({
  session: readToken(kept(KEY) ?? "", Date.now()),
  hasEnded: false,
  isAsking: false,
  /** False for what is no valid token. */
  signIn: (token) => {
    const session = readToken(token, Date.now());
    if (!session) return false;
    keep(KEY, token);
    set({ session, hasEnded: false, isAsking: false });
    return true;
  },
  signOut: () => {
    keep(KEY, null);
    set({ session: null, hasEnded: false });
  },
  /** Only if it is still the token in use: an answer to an old request says nothing about a new one. */
  end: (token) => {
    if (get().session?.token !== token) return;
    keep(KEY, null);
    set({ session: null, hasEnded: true, isAsking: true });
  },
  ask: (isAsking) => set({ isAsking }),
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
  setCredentials({
    token: () => useSession.getState().session?.token ?? null,
    refused: (refused) => useSession.getState().end(refused),
  });
  addEventListener("storage", ({ key, newValue }) => {
    if (key !== KEY) return;
    const { signIn, signOut } = useSession.getState();
    if (!newValue || !signIn(newValue)) signOut();
  });
}
