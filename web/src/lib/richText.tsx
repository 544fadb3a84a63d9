import { createElement, Fragment, type ReactNode } from "react";
import { splitLinks } from "./links";
import { splitIds } from "./mentions";

/** How a Matrix user id or a room alias is shown; `label` is what its author called it. */
export type RenderId = (id: string, label?: string) => ReactNode;

const AS_TEXT: RenderId = (id, label) => label ?? id;

/** How a block of code is shown; `language` is what its author called it, null where it has no name. */
export type RenderCode = (code: string, language: string | null) => ReactNode;

interface Renderers {
  id: RenderId;
  code: RenderCode | null;
}

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

export function richText(html: string, renderId: RenderId = AS_TEXT, renderCode: RenderCode | null = null): ReactNode {
  return children(new DOMParser().parseFromString(html, "text/html").body, { id: renderId, code: renderCode });
}

function children(parent: Node, render: Renderers): ReactNode[] {
  return Array.from(parent.childNodes, (node, index) => <Fragment key={index}>{element(node, render)}</Fragment>);
}

function element(node: Node, render: Renderers): ReactNode {
  if (node.nodeType === Node.TEXT_NODE) return text(node, render);
  if (!(node instanceof Element)) return null;
  const name = node.localName;
  if (name === "mx-reply" || name === "script" || name === "style") return null;
  if (name === "a") return link(node, render);
  if (name === "img") return picture(node);
  if (name === "code") return code(node, render);
  if (name === "pre" && render.code) return codeBlock(node, render.code);
  if (!PLAIN.has(name)) return children(node, render);
  if (name === "br" || name === "hr") return createElement(name);
  if (name === "span" && node.hasAttribute("data-mx-spoiler")) return spoiler(node, render);
  if (HEADING.test(name))
    return (
      <p dir="auto">
        <strong>{children(node, render)}</strong>
      </p>
    );
  if (name === "table")
    return (
      <div>
        <table>{children(node, render)}</table>
      </div>
    );
  return createElement(name, BLOCKS.has(name) ? { dir: "auto" } : null, children(node, render));
}

function text(node: Node, render: Renderers): ReactNode {
  const words = node.textContent ?? "";
  return node.parentElement?.closest(UNLINKED) ? words : linkedText(words, render.id);
}

function link(node: Element, render: Renderers): ReactNode {
  const href = node.getAttribute("href") ?? "";
  const id = idInLink(href);
  if (id !== null) return render.id(id, node.textContent);
  if (!SAFE_LINK.test(href)) return children(node, render);
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children(node, render)}
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

function code(node: Element, render: Renderers): ReactNode {
  const language = LANGUAGE.exec(node.className)?.[0];
  return <code className={language}>{children(node, render)}</code>;
}

function codeBlock(node: Element, renderCode: RenderCode): ReactNode {
  const named = LANGUAGE.exec(node.querySelector("code")?.className ?? "")?.[0];
  return renderCode(textWithBreaks(node), named?.slice("language-".length) ?? null);
}

/** The text of code, in which some clients write line breaks as elements. */
function textWithBreaks(node: Element): string {
  const copy = node.cloneNode(true) as Element;
  for (const br of copy.querySelectorAll("br")) br.replaceWith("\n");
  return copy.textContent;
}

function spoiler(node: Element, render: Renderers): ReactNode {
  return (
    <details>
      <summary>{node.getAttribute("data-mx-spoiler") ?? ""} …</summary>
      {children(node, render)}
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
