import { useCallback } from "react";
import { useTranslation } from "../lib/i18n";
import { Problem } from "../api/problem";

/** The text about an error, in the reader's language if its code has a translation. */
export function useProblemText(): (error: unknown) => string {
  const { t, has } = useTranslation();
  return useCallback(
    (error: unknown) => {
      const { code, message: detail } = error instanceof Problem ? error : { code: "other", message: String(error) };
      const key = `problem.${code}`;
      return t(has(key) ? key : "problem.other", { detail });
    },
    [t, has],
  );
}
