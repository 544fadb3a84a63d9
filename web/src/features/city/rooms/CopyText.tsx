import { useState } from "react";
import { useTranslation } from "../../../lib/i18n";

/** Copies the text of a message that cannot be sent. Browsers have no clipboard on pages without TLS: then there is no button. */
export function CopyText({ text }: { text: string }) {
  const { t } = useTranslation();
  const [isCopied, setCopied] = useState(false);
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (!clipboard || text === "") return null;
  const copy = () =>
    clipboard.writeText(text).then(
      () => setCopied(true),
      () => undefined,
    );
  return (
    <button type="button" onClick={() => void copy()}>
      {t(isCopied ? "session.copied" : "session.copy")}
    </button>
  );
}
