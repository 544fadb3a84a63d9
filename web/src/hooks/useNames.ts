import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import type { SubjectId } from "../api/types";
import { slugOf, wantAgentFace } from "../lib/agentFaces";
import { nameInSubject } from "../lib/subjects";
import { usePeople } from "../stores/people";

/** What subjects are called, in their order; agents whose names are not known are asked for. */
export function useNames(subjects: readonly SubjectId[]): string[] {
  const { t } = useTranslation();
  const faces = usePeople((state) => state.faces);
  useEffect(() => {
    for (const subject of subjects) {
      const slug = slugOf(subject);
      if (slug) wantAgentFace(slug);
    }
  }, [subjects]);
  return subjects.map((subject) => faces[subject]?.name ?? nameInSubject(subject) ?? t("common.unknownCitizen"));
}
