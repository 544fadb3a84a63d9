import type { ReactNode } from "react";
import { CodeBlock } from "../../../components/code/CodeBlock";
import { linkedText, richText, type RenderId } from "../../../lib/richText";
import { Mention } from "./Mention";
import styles from "./MessageRow.module.css";

const renderMention: RenderId = (id, label) => <Mention id={id} label={label} />;

const renderCode = (code: string, language: string | null) => <CodeBlock code={code} language={language} />;

interface Props {
  body: string;
  html: string | null;
  className?: string;
  /** Rendered before the first word. */
  children?: ReactNode;
}

/** The text of a message, with its formatting if it has any. */
export function RichText({ body, html, className = "", children }: Props) {
  return (
    <div className={`${html ? styles.rich : styles.text} ${className}`} dir="auto">
      {children}
      {html ? richText(html, renderMention, renderCode) : linkedText(body, renderMention)}
    </div>
  );
}
