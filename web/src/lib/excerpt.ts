import type { Message } from "../api/types";

/** The elements of a message that begin on a line of their own. */
const BLOCKS = "blockquote, br, caption, div, h1, h2, h3, h4, h5, h6, hr, li, p, pre, summary, td, th, tr";
const SPOILER = "span[data-mx-spoiler]";

/** A message as plain text in one line, as the city's `city/excerpts.py` makes it: no Markdown, no HTML, no spoilers. */
export function excerptOf({ body, formatted_body: html }: Pick<Message, "body" | "formatted_body">): string {
  const text = html === null ? "" : textOf(html);
  return text === "" ? body : text;
}

function textOf(html: string): string {
  const { body } = new DOMParser().parseFromString(html, "text/html");
  for (const hidden of body.querySelectorAll(SPOILER)) hidden.replaceWith("…");
  for (const picture of body.querySelectorAll("img")) picture.replaceWith(picture.alt);
  for (const block of body.querySelectorAll(BLOCKS)) block.after(" ");
  return body.textContent.replace(/\s+/g, " ").trim();
}
