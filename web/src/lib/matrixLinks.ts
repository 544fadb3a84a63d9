/** Links that open a room, or a chat with a user, in a Matrix client. */

const MATRIX_TO = "https://matrix.to";

/** `clientUrl`: the base of a client like Element (`https://app.element.io`), or of matrix.to; null for the latter. */
export function roomLink(clientUrl: string | null, alias: string): string {
  return link(clientUrl, "room", alias);
}

export function userLink(clientUrl: string | null, userId: string): string {
  return link(clientUrl, "user", userId);
}

function link(clientUrl: string | null, kind: "room" | "user", id: string): string {
  const base = (clientUrl ?? MATRIX_TO).replace(/\/(#\/?)?$/, "");
  const isMatrixTo = base.includes("matrix.to");
  return `${base}/#/${isMatrixTo ? "" : `${kind}/`}${encodeURIComponent(id).replaceAll("%3A", ":").replaceAll("%40", "@")}`;
}
