import type { QueryFunctionContext } from "@tanstack/react-query";
import { currentUserId } from "./http";
import { Problem } from "./problem";
import { cachedResponse, cacheResponse } from "../lib/responseCache";

/**
 * A query function that stores its responses, for a page that is opened without a connection.
 *
 * When a request fails, data that the query has already stays: it is newer than the stored response.
 */
export function cachedQuery<Answer>(load: (signal: AbortSignal) => Promise<Answer>) {
  return async ({ client, queryKey, signal }: QueryFunctionContext): Promise<Answer> => {
    const name = JSON.stringify(queryKey);
    const userId = currentUserId();
    try {
      const answer = await load(signal);
      void cacheResponse(name, answer, userId);
      return answer;
    } catch (error) {
      if (!(error instanceof Problem && error.isTemporary) || client.getQueryData(queryKey) !== undefined) throw error;
      const cached = await cachedResponse<Answer>(name, userId);
      if (cached === undefined) throw error;
      return cached;
    }
  };
}
