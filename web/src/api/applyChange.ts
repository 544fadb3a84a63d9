import type { QueryClient, QueryKey } from "@tanstack/react-query";

/**
 * Apply the result of a request that changed something to cached data.
 *
 * A request for the data that began before is cancelled, since its response would undo the change on the page; the data is
 * then requested again.
 *
 * @param change returns the changed data; `known` is undefined until the data was loaded.
 */
export async function applyChange<T>(
  queryClient: QueryClient,
  queryKey: QueryKey,
  change: (known: T | undefined) => T,
): Promise<void> {
  const wasFetching = queryClient.isFetching({ queryKey }) > 0;
  await queryClient.cancelQueries({ queryKey });
  queryClient.setQueryData<T>(queryKey, change);
  if (wasFetching) void queryClient.invalidateQueries({ queryKey });
}
