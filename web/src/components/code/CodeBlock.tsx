import { useEffect, useState, type ReactNode } from "react";
import { IconButton } from "../ui/Button";
import { useTranslation } from "../../lib/i18n";
import styles from "./CodeBlock.module.css";

interface Props {
  code: string;
  /** As its author named it; null without a name. */
  language: string | null;
}

/** Code with a button that copies it, and with colours where its language is known. */
export function CodeBlock({ code, language }: Props) {
  const text = code.replace(/\n$/, "");
  return (
    <div className={styles.block}>
      <pre>
        <code className={language === null ? undefined : `language-${language}`}>{useHighlighted(text, language)}</code>
      </pre>
      <CopyCode code={text} />
    </div>
  );
}

/** The code with coloured tokens once `highlight` is loaded; before that, and for unknown languages, the plain text. */
function useHighlighted(code: string, language: string | null): ReactNode {
  const [highlighted, setHighlighted] = useState<{ of: string; tokens: ReactNode } | null>(null);
  useEffect(() => {
    if (language === null) return undefined;
    let isShown = true;
    import("./highlight")
      .then(({ highlight }) => {
        const tokens = highlight(code, language);
        if (isShown && tokens !== null) setHighlighted({ of: code, tokens });
      })
      // Code that the library fails on stays plain.
      .catch(() => undefined);
    return () => {
      isShown = false;
    };
  }, [code, language]);
  return highlighted?.of === code ? highlighted.tokens : code;
}

/** A button that copies the code. Browsers have no clipboard on pages without TLS: then there is no button. */
function CopyCode({ code }: { code: string }) {
  const { t } = useTranslation();
  const [isCopied, setCopied] = useState(false);
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (!clipboard) return null;
  const copy = () =>
    clipboard.writeText(code).then(
      () => setCopied(true),
      () => undefined,
    );
  return (
    <IconButton
      icon={isCopied ? "check" : "copy"}
      label={t(isCopied ? "session.copied" : "code.copy")}
      size={16}
      className={styles.copy ?? ""}
      onClick={() => void copy()}
    />
  );
}
