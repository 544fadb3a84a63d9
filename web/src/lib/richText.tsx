import { createElement, Fragment, type ReactNode } from "react";
import { splitLinks } from "./links";
import { splitIds } from "./mentions";

/** How a Matrix user id or a room alias is shown; `label` is what its author called it. */
export type RenderId = (id: string, label?: string) => ReactNode;

const AS_TEXT: RenderId = (id, label) => label ?? id;

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

export function richText(html: string, renderId: RenderId = AS_TEXT): ReactNode {
  return children(new DOMParser().parseFromString(html, "text/html").body, renderId);
}

function children(parent: Node, renderId: RenderId): ReactNode[] {
  return Array.from(parent.childNodes, (node, index) => <Fragment key={index}>{element(node, renderId)}</Fragment>);
}

function element(node: Node, renderId: RenderId): ReactNode {
  if (node.nodeType === Node.TEXT_NODE) return text(node, renderId);
  if (!(node instanceof Element)) return null;
  const name = node.localName;
  if (name === "mx-reply" || name === "script" || name === "style") return null;
  if (name === "a") return link(node, renderId);
  if (name === "img") return picture(node);
  if (name === "code") return code(node, renderId);
  if (!PLAIN.has(name)) return children(node, renderId);
  if (name === "br" || name === "hr") return createElement(name);
  if (name === "span" && node.hasAttribute("data-mx-spoiler")) return spoiler(node, renderId);
  if (HEADING.test(name))
    return (
      <p dir="auto">
        <strong>{children(node, renderId)}</strong>
      </p>
    );
  if (name === "table")
    return (
      <div>
        <table>{children(node, renderId)}</table>
      </div>
    );
  return createElement(name, BLOCKS.has(name) ? { dir: "auto" } : null, children(node, renderId));
}

function text(node: Node, renderId: RenderId): ReactNode {
  const words = node.textContent ?? "";
  return node.parentElement?.closest(UNLINKED) ? words : linkedText(words, renderId);
}

function link(node: Element, renderId: RenderId): ReactNode {
  const href = node.getAttribute("href") ?? "";
  const id = idInLink(href);
  if (id !== null) return renderId(id, node.textContent);
  if (!SAFE_LINK.test(href)) return children(node, renderId);
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children(node, renderId)}
    </a>
  );
}

const MATRIX_TO = /^https:\/\/matrix\.to\/#\/([^/?#]+)$/;

/** The Matrix user id or room alias that a link to matrix.to is about; null for others. */
function idInLink(href: string): string | null {
  try {
    const id = decodeURIComponent(MATRIX_TO.exec(href)?.[1] ?? "");
    return /^[@#]/.test(id) ? id : null;
  } catch {
    return null;
  }
}

/** A custom emoji is as high as a line; what it is called is said where it cannot be drawn. */
function picture(node: Element): ReactNode {
  const src = node.getAttribute("src") ?? "";
  const name = [node.getAttribute("alt"), node.getAttribute("title")].find(Boolean) ?? "";
  if (!src.startsWith("/city/media/")) return name;
  const size = node.hasAttribute("data-mx-emoticon") ? { style: EMOJI_SIZE } : { height: 32 };
  return <img src={src} alt={name} title={name} loading="lazy" {...size} />;
}

function code(node: Element, renderId: RenderId): ReactNode {
  const language = LANGUAGE.exec(node.className)?.[0];
  return <code className={language}>{children(node, renderId)}</code>;
}

function spoiler(node: Element, renderId: RenderId): ReactNode {
  return (
    <details>
      <summary>{node.getAttribute("data-mx-spoiler") ?? ""} …</summary>
      {children(node, renderId)}
    </details>
  );
}

/** A text whose addresses are links, with `renderId` for the Matrix user ids and room aliases in it. */
export function linkedText(text: string, renderId: RenderId = AS_TEXT): ReactNode {
  return splitLinks(text).map(({ text: part, isLink }, index) =>
    isLink ? (
      <a key={index} href={part} target="_blank" rel="noopener noreferrer nofollow">
        {part}
      </a>
    ) : (
      <Fragment key={index}>
        {splitIds(part).map((each, at) => (each.isId ? <Fragment key={at}>{renderId(each.text)}</Fragment> : each.text))}
      </Fragment>
    ),
  );
}
