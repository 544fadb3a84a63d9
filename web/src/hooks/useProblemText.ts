import { useCallback } from "react";
import { useTranslation } from "react-i18next";
import { Problem } from "../api/problem";

/** What to tell people about an error, in their language where the pages have words for its code. */
export function useProblemText(): (error: unknown) => string {
  const { t, i18n } = useTranslation();
  return useCallback(
    (error: unknown) => {
      const { code, message } = error instanceof Problem ? error : { code: "other", message: String(error) };
      const key = `problem.${code}`;
      return code !== "other" && i18n.exists(key) ? i18n.t(key) : t("problem.other", { detail: message });
    },
    [t, i18n],
  );
}
