import MarkdownToJsx from "markdown-to-jsx";
import { createElement } from "react";

/** Raw HTML in an answer stays text, pictures are not fetched from anywhere, and links open beside the city. */
const OPTIONS = {
  disableParsingRawHTML: true,
  forceBlock: true,
  overrides: {
    a: { props: { target: "_blank", rel: "noopener noreferrer nofollow" } },
    img: ({ alt }: { alt?: string }) => createElement("span", null, alt),
    h1: { component: "h3" },
    h2: { component: "h3" },
  },
} as const;

export default function Markdown({ text }: { text: string }) {
  return <MarkdownToJsx options={OPTIONS}>{text}</MarkdownToJsx>;
}
