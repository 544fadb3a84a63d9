import { useCallback } from "react";
import { useTranslation } from "../lib/i18n";
import { Problem } from "../api/problem";

/** What to tell people about an error, in their language where the pages have words for its code. */
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
