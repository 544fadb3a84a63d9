import MarkdownToJsx from "markdown-to-jsx";
import { createElement, isValidElement, type ReactNode } from "react";
import { CodeBlock } from "../../components/code/CodeBlock";

/** In an answer, raw HTML stays text, pictures are not loaded, and links open a new tab. */
const OPTIONS = {
  disableParsingRawHTML: true,
  forceBlock: true,
  overrides: {
    a: { props: { target: "_blank", rel: "noopener noreferrer nofollow" } },
    img: ({ alt }: { alt?: string }) => createElement("span", null, alt),
    pre: Code,
    h1: { component: "h3" },
    h2: { component: "h3" },
  },
} as const;

/** A fenced block: the library puts the text and the name of its language into a `code` element. */
function Code({ children }: { children?: ReactNode }) {
  const { className = "", children: code } = isValidElement<{ className?: string; children?: ReactNode }>(children)
    ? children.props
    : { children };
  if (typeof code !== "string") return <pre>{children}</pre>;
  return <CodeBlock code={code} language={/\blang(?:uage)?-(\S+)/.exec(className)?.[1] ?? null} />;
}

export default function Markdown({ text }: { text: string }) {
  return <MarkdownToJsx options={OPTIONS}>{text}</MarkdownToJsx>;
}
