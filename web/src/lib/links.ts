/** URLs in a plain text. */

export interface TextPart {
  text: string;
  /** Whether it is a URL. */
  isLink: boolean;
}

/** Characters that change the text direction are not part of a URL: after U+202E `gnp.exe` would be read as `exe.png`. */
const ADDRESS =
  /(?:https?:\/\/|(?<![\p{L}\p{N}])(?:mailto:(?=[^\s<>@]{1,255}@)|matrix:(?=[a-z]+\/)))[^\s<>"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
const COMPLETE = /^(?:https?:\/\/[^/?#]|mailto:[^@]+@[^@]|matrix:[a-z]+\/.)/iu;
/** Characters that end the sentence around a URL, not the URL. */
const ENDS_A_SENTENCE = /[.,;:!?'"»”’…|]/;
/** Marks of emphasis, which belong to a URL that has several of them: `https://example.org/~user~`. */
const MARK = /[*_~]/;
const OPENED_BY: Record<string, string> = { ")": "(", "]": "[", "}": "{" };

/** The parts of a text, in order; together they are the text. */
export function splitLinks(text: string): TextPart[] {
  const parts: TextPart[] = [];
  let done = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = withoutSentenceEnd(found, text[index - 1]);
    if (!COMPLETE.test(address)) continue;
    if (index > done) parts.push({ text: text.slice(done, index), isLink: false });
    parts.push({ text: address, isLink: true });
    done = index + address.length;
  }
  if (done < text.length) parts.push({ text: text.slice(done), isLink: false });
  return parts;
}

/**
 * Remove the end of the sentence. A bracket that the URL has opened belongs to it: `https://en.wikipedia.org/wiki/Foo_(bar)`.
 *
 * Takes time linear in the length of the URL, which may be hostile: 48,000 brackets froze a page for a minute.
 */
function withoutSentenceEnd(address: string, before: string | undefined): string {
  const counts = new Map<string, number>();
  for (const char of address) counts.set(char, count(counts, char) + 1);
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address.charAt(end - 1);
    const opening = OPENED_BY[last];
    const isUnopened = opening !== undefined && count(counts, last) > count(counts, opening);
    const isMarkAround = MARK.test(last) && (last === before || count(counts, last) === 1);
    if (!isUnopened && !isMarkAround && !ENDS_A_SENTENCE.test(last)) break;
    counts.set(last, count(counts, last) - 1);
  }
  return address.slice(0, end);
}

function count(counts: ReadonlyMap<string, number>, char: string): number {
  return counts.get(char) ?? 0;
}
