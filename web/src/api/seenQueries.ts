import type { QueryFunctionContext } from "@tanstack/react-query";
import { currentUserId } from "./http";
import { Problem } from "./problem";
import { seenAnswer, storeSeen } from "../lib/seenAnswers";

/**
 * A query function whose answers are stored, and read from there by a page that is opened without a connection.
 *
 * An answer that the page has already is newer than the stored one, and stays when a request fails.
 */
export function seenQuery<Answer>(load: (signal: AbortSignal) => Promise<Answer>) {
  return async ({ client, queryKey, signal }: QueryFunctionContext): Promise<Answer> => {
    const name = JSON.stringify(queryKey);
    const userId = currentUserId();
    try {
      const answer = await load(signal);
      void storeSeen(name, answer, userId);
      return answer;
    } catch (error) {
      if (!(error instanceof Problem && error.isTemporary) || client.getQueryData(queryKey) !== undefined) throw error;
      const seen = await seenAnswer<Answer>(name, userId);
      if (seen === undefined) throw error;
      return seen;
    }
  };
}
