/** URLs in a plain text. */

export interface TextPart {
  text: string;
  /** Whether it is a URL. */
  isLink: boolean;
}

/** Characters that change the text direction are not part of a URL: after U+202E `gnp.exe` would be read as `exe.png`. */
const ADDRESS = /https?:\/\/[^\s<>"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
/** Characters that end the sentence around a URL, not the URL. */
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

/** Remove the end of the sentence. A bracket that the URL has opened belongs to it: `https://en.wikipedia.org/wiki/Foo_(bar)`. */
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
