/** A citizen's sign-in, with the claims of the token. The pages prove nothing: only the city checks the signature. */
export interface Session {
  token: string;
  userId: string;
  displayName: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

/**
 * Read a token. Null if it is not a citizen's token, or has expired.
 *
 * `now` is the city's time in milliseconds since the epoch; null if it is not known. The browser's own clock is not used: the
 * city itself refuses a token that has expired.
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

/** The token in the URL to which the sign-in page returned (`#token=<jwt>`), and the URL without it. */
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

/** The longest time between leaving for the sign-in page and the return. */
const SIGN_IN_TIMEOUT_MS = 30 * 60_000;

/**
 * Whether this page sent the reader to the sign-in page, at `leftAt`, and may expect a return: otherwise a token in a link that
 * others made would sign people in as somebody they are not.
 */
export function isSignInExpected(leftAt: string | null, now: number): boolean {
  return leftAt !== null && now - Number(leftAt) >= 0 && now - Number(leftAt) < SIGN_IN_TIMEOUT_MS;
}

/** The URL of the sign-in page that returns to `here`. */
export function signInAddress(signInUrl: string, here: string): string {
  const url = new URL(signInUrl, here);
  url.searchParams.set("return_to", here);
  return url.href;
}
