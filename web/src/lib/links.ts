/** Bare web addresses in a text. */

export interface TextPart {
  text: string;
  /** Whether it is an address. */
  isLink: boolean;
}

/** Characters that turn the direction of text are no part of an address: after U+202E `gnp.exe` would be read as `exe.png`. */
const ADDRESS = /https?:\/\/[^\s<>"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
/** What ends the sentence around an address rather than the address. */
const ENDS_A_SENTENCE = /[.,;:!?'"»”’…*_~|]$/u;
const OPENED_BY: Record<string, string> = { ")": "(", "]": "[", "}": "{" };

/** The parts of a text, in order; together they are the text. */
export function splitLinks(text: string): TextPart[] {
  const parts: TextPart[] = [];
  let done = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = withoutSentenceEnd(found);
    if (!/^https?:\/\/[^/?#]/iu.test(address)) continue;
    if (index > done) parts.push({ text: text.slice(done, index), isLink: false });
    parts.push({ text: address, isLink: true });
    done = index + address.length;
  }
  if (done < text.length) parts.push({ text: text.slice(done), isLink: false });
  return parts;
}

/** A closing bracket belongs to an address that has opened it: `https://en.wikipedia.org/wiki/Foo_(bar)`. */
function withoutSentenceEnd(address: string): string {
  let end = address;
  for (;;) {
    const last = end.at(-1) ?? "";
    const opening = OPENED_BY[last];
    const isUnopened = opening !== undefined && count(end, last) > count(end, opening);
    if (!isUnopened && !ENDS_A_SENTENCE.test(end)) return end;
    end = end.slice(0, -1);
  }
}

function count(text: string, char: string): number {
  return text.split(char).length - 1;
}
