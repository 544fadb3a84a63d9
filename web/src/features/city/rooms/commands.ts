/** `/me waves` says what one does. Any other text is said as it is, also one that begins with `/`. */
export function parseCommand(written: string): { body: string; isEmote: boolean } {
  const found = /^\/me\s+(?=\S)/.exec(written);
  return found ? { body: written.slice(found[0].length), isEmote: true } : { body: written, isEmote: false };
}
