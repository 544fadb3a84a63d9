/** `/me waves` is sent as an emote. Any other text is sent unchanged, even if it begins with `/`. */
export function parseCommand(written: string): { body: string; isEmote: boolean } {
  const found = /^\/me\s+(?=\S)/.exec(written);
  return found ? { body: written.slice(found[0].length), isEmote: true } : { body: written, isEmote: false };
}

/** Whether a text is an incomplete command, which is not sent: `/me` without words, or the beginning of `/me`. */
export function isUnfinishedCommand(written: string): boolean {
  return /^\/(m|me\s*)$/.test(written);
}
