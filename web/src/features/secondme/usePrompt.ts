import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { applyChange } from "../../api/applyChange";
import { queries } from "../../api/queries";
import type { Interaction } from "../../api/types";
import { setPromptDraft, getPromptDraft } from "./promptDraft";
import { streamReply } from "./streamReply";

/** A question that is being answered, was stopped, or has failed. */
export interface PendingPrompt {
  prompt: string;
  answer: string;
  state: "answering" | "stopped" | "failed";
  problem: unknown;
}

/** The number of interactions that the city stores. */
const HISTORY_LENGTH = 5;

/** Asks one question at a time; complete answers go into the history. */
export function usePrompt(userId: string) {
  const queryClient = useQueryClient();
  const [pending, setAsked] = useState<PendingPrompt | null>(null);
  const abortRef = useRef<AbortController | null>(null);

  useEffect(() => () => abortRef.current?.abort(), []);

  const ask = async (prompt: string) => {
    const call = new AbortController();
    abortRef.current = call;
    setPromptDraft(userId, prompt);
    setAsked({ prompt, answer: "", state: "answering", problem: null });
    try {
      const onText = (answer: string) => setAsked((now) => now && { ...now, answer });
      const interaction = await streamReply(prompt, onText, call.signal);
      await applyChange(queryClient, queries.secondMeHistory(userId).queryKey, (known: Interaction[] = []) =>
        [...known, interaction].slice(-HISTORY_LENGTH),
      );
      setAsked(null);
      // Unless another draft was begun meanwhile.
      if (getPromptDraft(userId) === prompt) setPromptDraft(userId, "");
    } catch (problem) {
      const state = call.signal.aborted ? "stopped" : "failed";
      setAsked((now) => now && { ...now, state, problem });
    }
  };

  return { asked: pending, ask, stop: () => abortRef.current?.abort(), discard: () => setAsked(null) };
}
