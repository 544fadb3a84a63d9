import { createElement, Fragment, type ReactNode } from "react";
import { splitLinks } from "./links";

/**
 * `formatted_body` as React elements. The city lets through only what the Matrix specification lets a client show; the pages
 * trust nobody with their document all the same, and give links and pictures what they need here.
 */

const PLAIN = new Set(
  "b strong i em u s del strike code pre blockquote p ul ol li h1 h2 h3 h4 h5 h6 hr br sub sup table thead tbody tr th td caption span div details summary".split(
    " ",
  ),
);

/** Headings of a message are none of the page's. */
const HEADING = /^h[1-6]$/;

/** Each of them begins on a line of its own, so each has a direction of writing of its own. */
const BLOCKS = new Set("blockquote p li td th caption summary".split(" "));

/** In these an address is not for clicking. */
const UNLINKED = "a, code, pre";

const LANGUAGE = /\blanguage-[\w+#./-]{1,64}(?=\s|$)/;

const EMOJI_SIZE = {
  display: "inline-block",
  height: "1.4em",
  maxWidth: "8em",
  verticalAlign: "-0.3em",
  objectFit: "contain",
} as const;

const SAFE_LINK = /^(https?:|mailto:|matrix:)/i;

export function richText(html: string): ReactNode {
  return children(new DOMParser().parseFromString(html, "text/html").body);
}

function children(parent: Node): ReactNode[] {
  return Array.from(parent.childNodes, (node, index) => <Fragment key={index}>{element(node)}</Fragment>);
}

function element(node: Node): ReactNode {
  if (node.nodeType === Node.TEXT_NODE) return text(node);
  if (!(node instanceof Element)) return null;
  const name = node.localName;
  if (name === "mx-reply" || name === "script" || name === "style") return null;
  if (name === "a") return link(node);
  if (name === "img") return picture(node);
  if (name === "code") return code(node);
  if (!PLAIN.has(name)) return children(node);
  if (name === "br" || name === "hr") return createElement(name);
  if (name === "span" && node.hasAttribute("data-mx-spoiler")) return spoiler(node);
  if (HEADING.test(name))
    return (
      <p dir="auto">
        <strong>{children(node)}</strong>
      </p>
    );
  if (name === "table")
    return (
      <div>
        <table>{children(node)}</table>
      </div>
    );
  return createElement(name, BLOCKS.has(name) ? { dir: "auto" } : null, children(node));
}

function text(node: Node): ReactNode {
  const words = node.textContent ?? "";
  return node.parentElement?.closest(UNLINKED) ? words : linkedText(words);
}

function link(node: Element): ReactNode {
  const href = node.getAttribute("href") ?? "";
  if (!SAFE_LINK.test(href)) return children(node);
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children(node)}
    </a>
  );
}

/** A custom emoji is as high as a line; what it is called is said where it cannot be drawn. */
function picture(node: Element): ReactNode {
  const src = node.getAttribute("src") ?? "";
  const name = [node.getAttribute("alt"), node.getAttribute("title")].find(Boolean) ?? "";
  if (!src.startsWith("/city/media/")) return name;
  const size = node.hasAttribute("data-mx-emoticon") ? { style: EMOJI_SIZE } : { height: 32 };
  return <img src={src} alt={name} title={name} loading="lazy" {...size} />;
}

function code(node: Element): ReactNode {
  const language = LANGUAGE.exec(node.className)?.[0];
  return <code className={language}>{children(node)}</code>;
}

function spoiler(node: Element): ReactNode {
  return (
    <details>
      <summary>{node.getAttribute("data-mx-spoiler") ?? ""} …</summary>
      {children(node)}
    </details>
  );
}

/** A text whose addresses are links. */
export function linkedText(text: string): ReactNode {
  return splitLinks(text).map(({ text: part, isLink }, index) =>
    isLink ? (
      <a key={index} href={part} target="_blank" rel="noopener noreferrer nofollow">
        {part}
      </a>
    ) : (
      part
    ),
  );
}
