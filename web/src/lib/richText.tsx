import { createElement, Fragment, type ReactNode } from "react";
import { splitLinks } from "./links";
import { splitIds } from "./mentions";

/** Renders a Matrix user id or a room alias; `label` is the name that the author gave it. */
export type RenderId = (id: string, label?: string) => ReactNode;

const AS_TEXT: RenderId = (id, label) => label ?? id;

/** Renders a block of code; `language` is the author's name for its language, null if there is none. */
export type RenderCode = (code: string, language: string | null) => ReactNode;

interface Renderers {
  id: RenderId;
  code: RenderCode | null;
}

/**
 * `formatted_body` as React elements. The city passes only what the Matrix specification allows a client to show; the pages
 * filter it all the same, and set the attributes of links and pictures here.
 */

const PLAIN = new Set(
  "b strong i em u s del strike code pre blockquote p ul ol li h1 h2 h3 h4 h5 h6 hr br sub sup table thead tbody tr th td caption span div details summary".split(
    " ",
  ),
);

/** Headings of a message become bold paragraphs: they are not headings of the page. */
const HEADING = /^h[1-6]$/;

/** Blocks begin on a line of their own, so each has its own text direction. */
const BLOCKS = new Set("blockquote p li td th caption summary".split(" "));

/** Elements in which URLs are not linked. */
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

/** The Matrix user id or room alias of a link to matrix.to; null for other links. */
function idInLink(href: string): string | null {
  try {
    const id = decodeURIComponent(MATRIX_TO.exec(href)?.[1] ?? "");
    return /^[@#]/.test(id) ? id : null;
  } catch {
    return null;
  }
}

/** A custom emoji has the height of a line; a picture from elsewhere is replaced by its name. */
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

/** The text of code, in which some clients write line breaks as `<br>`. */
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

/** A text with links for its URLs, and with `renderId` for its Matrix user ids and room aliases. */
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
