/** Emoji as the Unicode standard defines them (UTS #51): a flag, a keycap or a family is one emoji. */

import type { ReactionCount } from "../api/types";
import { plainName } from "./names";

const MAX_SHOWN_LARGE = 12;

/** The emoji of UTS #51, for browsers whose regular expressions have no properties of strings (the `v` flag). */
const ONE_EMOJI = [
  String.raw`\p{Regional_Indicator}{2}`,
  String.raw`[0-9#*]\ufe0f\u20e3`,
  String.raw`\u{1f3f4}[\u{e0061}-\u{e007a}]+\u{e007f}`,
  String.raw`(?!\p{Regional_Indicator})(?:\p{Emoji_Presentation}|\p{Emoji}\ufe0f|\p{Emoji_Modifier_Base}(?=\p{Emoji_Modifier}))\p{Emoji_Modifier}?` +
    String.raw`(?:\u200d\p{Extended_Pictographic}[\ufe0f\p{Emoji_Modifier}]?)*`,
].join("|");

export const WITHOUT_STRING_PROPERTIES = only(ONE_EMOJI, "u");
const EMOJI_ONLY = newest();

/** Whether a text consists of a few emoji and nothing else: "👍 🇺🇦", but not "10 👍" and not "© 2024". */
export function isEmojiOnly(text: string): boolean {
  return EMOJI_ONLY.test(text);
}

/** A reaction in words: an emoji itself; a picture by the name that its sender gave it, else as `picture`, never by its URI. */
export function reactionName({ emoji, shortcode }: Pick<ReactionCount, "emoji" | "shortcode">, picture: string): string {
  if (!emoji.startsWith("mxc://")) return plainName(emoji);
  return plainName(shortcode ?? "").trim() || picture;
}

function newest(): RegExp {
  try {
    return only(String.raw`\p{RGI_Emoji}`, "v");
  } catch {
    return WITHOUT_STRING_PROPERTIES;
  }
}

function only(emoji: string, flag: string): RegExp {
  return new RegExp(String.raw`^\s*(?:(?:${emoji})\s*){1,${MAX_SHOWN_LARGE}}$`, flag);
}
