import { useEffect } from "react";
import { useTranslation } from "../lib/i18n";
import type { SubjectId } from "../api/types";
import { nameInSubject, slugOf } from "../lib/subjects";
import { requestAgentProfile } from "../stores/agentProfiles";
import { useProfiles } from "../stores/profiles";

/** The names of subjects, in their order; the names of unknown agents are requested. */
export function useNames(subjects: readonly SubjectId[]): string[] {
  const { t } = useTranslation();
  const profiles = useProfiles((state) => state.profiles);
  useEffect(() => {
    for (const subject of subjects) {
      const slug = slugOf(subject);
      if (slug) requestAgentProfile(slug);
    }
  }, [subjects]);
  return subjects.map((subject) => profiles[subject]?.name ?? nameInSubject(subject) ?? t("common.unknownCitizen"));
}
