/** `/me waves` says what one does. Any other text is said as it is, also one that begins with `/`. */
export function parseCommand(written: string): { body: string; isEmote: boolean } {
  const found = /^\/me\s+(?=\S)/.exec(written);
  return found ? { body: written.slice(found[0].length), isEmote: true } : { body: written, isEmote: false };
}

/** Whether a text is a command without its words: `/me` alone says nothing, and its beginning is no message. */
export function isUnfinishedCommand(written: string): boolean {
  return /^\/(m|me\s*)$/.test(written);
}
