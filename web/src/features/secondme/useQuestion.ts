import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { queries } from "../../api/queries";
import type { Interaction } from "../../api/types";
import { storePrompt, storedPrompt } from "./prompt";
import { question } from "./question";

/** What is being asked just now, or was asked in vain. */
export interface Asked {
  prompt: string;
  answer: string;
  state: "answering" | "stopped" | "failed";
  problem: unknown;
}

/** The city keeps as many. */
const REMEMBERED = 5;

/** Asking one question at a time; what was answered in full goes into the history. */
export function useQuestion(userId: string) {
  const queryClient = useQueryClient();
  const [asked, setAsked] = useState<Asked | null>(null);
  const hangUp = useRef<AbortController | null>(null);

  useEffect(() => () => hangUp.current?.abort(), []);

  const ask = async (prompt: string) => {
    const call = new AbortController();
    hangUp.current = call;
    storePrompt(userId, prompt);
    setAsked({ prompt, answer: "", state: "answering", problem: null });
    try {
      const told = (answer: string) => setAsked((now) => now && { ...now, answer });
      const interaction = await question(prompt, told, call.signal);
      queryClient.setQueryData(queries.secondMeHistory(userId).queryKey, (known: Interaction[] = []) =>
        [...known, interaction].slice(-REMEMBERED),
      );
      setAsked(null);
      // Unless something else was begun meanwhile.
      if (storedPrompt(userId) === prompt) storePrompt(userId, "");
    } catch (problem) {
      const state = call.signal.aborted ? "stopped" : "failed";
      setAsked((now) => now && { ...now, state, problem });
    }
  };

  return { asked, ask, stop: () => hangUp.current?.abort(), forget: () => setAsked(null) };
}
