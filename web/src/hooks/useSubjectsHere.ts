import { useState } from "react";
import type { SubjectId } from "../api/types";
import { onlineSubjects, usePresence } from "../stores/presence";
import { useThrottledStore } from "./useThrottledStore";

const EVERY_MS = 250;

/** The subjects who are not offline. The set changes only when somebody comes or leaves, at most four times a second. */
export function useSubjectsHere(): ReadonlySet<SubjectId> {
  const online = useThrottledStore(usePresence, onlineSubjects, EVERY_MS);
  const [here, setHere] = useState<ReadonlySet<SubjectId>>(() => new Set(Object.keys(online)));
  const subjects = Object.keys(online);
  if (subjects.length === here.size && subjects.every((subject) => here.has(subject))) return here;
  const next = new Set(subjects);
  setHere(next);
  return next;
}
