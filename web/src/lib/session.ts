/** A citizen's sign-in, as their token says it. Nothing here is proven: only the city checks the signature. */
export interface Session {
  token: string;
  userId: string;
  displayName: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

/**
 * Null for what is no citizen's token, or one that has expired.
 *
 * `now` is the city's time in milliseconds since the epoch; null where it is not known. The browser's own clock decides nothing: a
 * token that has expired is refused by the city itself.
 */
export function readToken(token: string, now: number | null): Session | null {
  const claims = readClaims(token);
  const { sub, exp, name, preferred_username: username } = claims ?? {};
  if (typeof sub !== "string" || typeof exp !== "number") return null;
  if (now !== null && exp * 1000 <= now) return null;
  const [displayName = sub] = [name, username].filter((found) => typeof found === "string" && found !== "");
  return { token, userId: sub, displayName: displayName as string, expiresAt: exp * 1000 };
}

function readClaims(token: string): Record<string, unknown> | null {
  const payload = token.split(".")[1];
  if (!payload) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const found: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** The token with which the city's sign-in sent somebody back (`#token=<jwt>`), and the address without it. */
export function extractSignInToken(href: string): { token: string | null; href: string } {
  const url = new URL(href);
  const fragment = new URLSearchParams(url.hash.slice(1));
  const token = fragment.get("token");
  if (token !== null) {
    fragment.delete("token");
    url.hash = fragment.toString();
  }
  return { token, href: url.href };
}

/** How long somebody may take to sign in elsewhere. */
const SIGN_IN_TIMEOUT_MS = 30 * 60_000;

/**
 * Whether this page sent somebody to sign in, at `leftAt`, who may be coming back: a token in a link that others made would
 * sign people in as somebody they are not.
 */
export function isSignInExpected(leftAt: string | null, now: number): boolean {
  return leftAt !== null && now - Number(leftAt) >= 0 && now - Number(leftAt) < SIGN_IN_TIMEOUT_MS;
}

/** Where to sign in, to come back to `here`. */
export function signInAddress(signInUrl: string, here: string): string {
  const url = new URL(signInUrl, here);
  url.searchParams.set("return_to", here);
  return url.href;
}
