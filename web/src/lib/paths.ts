/** Paths of the pages. */

/** A room by its slug or id. */
export function roomPath(room: string): string {
  return `/city/${encodeURIComponent(room)}`;
}

/** The room, scrolled to this message. */
export function messagePath(room: string, messageId: string): string {
  return `${roomPath(room)}/${encodeURIComponent(messageId)}`;
}

export function agentPath(slug: string): string {
  return `/agents/${encodeURIComponent(slug)}`;
}

export function nodePath(id: string): string {
  return `/nodes/${encodeURIComponent(id)}`;
}

export function microDaoPath(slug: string): string {
  return `/microdao/${encodeURIComponent(slug)}`;
}
