import { useCallback } from "react";
import { useTranslation } from "react-i18next";
import { Problem } from "../api/problem";
import type uk from "../i18n/uk";

type KnownCode = keyof (typeof uk)["problem"];

/** What to tell people about an error, in their language where the pages have words for its code. */
export function useProblemText(): (error: unknown) => string {
  const { t, i18n } = useTranslation();
  return useCallback(
    (error: unknown) => {
      const { code, message: detail } = error instanceof Problem ? error : { code: "other", message: String(error) };
      return t(`problem.${i18n.exists(`problem.${code}`) ? (code as KnownCode) : "other"}`, { detail });
    },
    [t, i18n],
  );
}
