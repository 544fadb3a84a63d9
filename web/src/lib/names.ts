/** Names of people, rooms and files in a sentence of another text direction. */

/** Characters that change the direction of what follows them: marks, embeddings, overrides and isolates (UAX #9). */
const DIRECTION_CONTROLS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

const RIGHT_TO_LEFT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u;

const FIRST_STRONG_ISOLATE = "\u2068";
const POP_DIRECTIONAL_ISOLATE = "\u2069";

/** A name without characters that display it in another order than it is written in: `N\u202egpj.exe` is not a picture. */
export function plainName(name: string): string {
  return name.replace(DIRECTION_CONTROLS, "");
}

/** A name for a text that cannot contain `<bdi>`: a right-to-left name does not reorder the words around it. */
export function isolated(name: string): string {
  const plain = plainName(name);
  return RIGHT_TO_LEFT.test(plain) ? FIRST_STRONG_ISOLATE + plain + POP_DIRECTIONAL_ISOLATE : plain;
}
