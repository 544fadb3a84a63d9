import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { Fragment, type ReactNode } from "react";
import styles from "./CodeBlock.module.css";

const LANGUAGES = { bash, css, diff, go, java, javascript, json, python, rust, sql, typescript, xml, yaml };
for (const [name, grammar] of Object.entries(LANGUAGES)) hljs.registerLanguage(name, grammar);

/** Longer code is not highlighted: the time grows with the square of the length of some texts, like a long word of Java. */
const MAX_CHARS = 5_000;

/** The class names for highlight.js's kinds of tokens, many of which look the same. */
const LOOKS: Record<string, string | undefined> = {
  keyword: styles.keyword,
  literal: styles.number,
  number: styles.number,
  symbol: styles.number,
  string: styles.string,
  regexp: styles.string,
  addition: styles.string,
  title: styles.title,
  section: styles.title,
  name: styles.keyword,
  tag: styles.keyword,
  attr: styles.title,
  attribute: styles.title,
  built_in: styles.title,
  type: styles.title,
  comment: styles.comment,
  meta: styles.comment,
  deletion: styles.keyword,
};

/** Code with its tokens in colours; null for an unknown language or long code. */
export function highlight(code: string, language: string): ReactNode {
  const name = language.toLowerCase();
  if (code.length > MAX_CHARS || !hljs.getLanguage(name)) return null;
  const { value } = hljs.highlight(code, { language: name, ignoreIllegals: true });
  // The tokens become React elements: no HTML is put into the page.
  return tokens(new DOMParser().parseFromString(`<pre>${value}</pre>`, "text/html").querySelector("pre"));
}

function tokens(parent: Node | null): ReactNode[] {
  return Array.from(parent?.childNodes ?? [], (node, index) =>
    node instanceof Element ? (
      <span key={index} className={lookOf(node)}>
        {tokens(node)}
      </span>
    ) : (
      <Fragment key={index}>{node.textContent}</Fragment>
    ),
  );
}

function lookOf(token: Element): string | undefined {
  const kind = /hljs-([\w]+)/.exec(token.className)?.[1];
  return kind === undefined ? undefined : LOOKS[kind];
}
