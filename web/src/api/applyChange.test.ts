import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, expect, it } from "vitest";
import { applyChange } from "./applyChange";

const KEY = ["secondme", "u_1"];
const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
afterEach(() => client.clear());

/** A query whose responses come when they are given. */
function observed() {
  const responses: ((data: string[]) => void)[] = [];
  const query = { queryKey: KEY, queryFn: () => new Promise<string[]>((resolve) => responses.push(resolve)) };
  const observer = new QueryObserver(client, query);
  return { responses, observer, stop: observer.subscribe(() => undefined) };
}

const append = (known: string[] = []) => [...known, "new"];
const turn = () => new Promise((resolve) => setTimeout(resolve));

it("keeps a change that an earlier response does not have", async () => {
  const { responses, observer, stop } = observed();
  responses[0]?.(["old"]);
  await turn();
  void observer.refetch();
  await turn();
  await applyChange<string[]>(client, KEY, append);
  responses[1]?.(["old"]);
  await turn();
  expect(client.getQueryData(KEY)).toEqual(["old", "new"]);
  responses[2]?.(["old", "new", "newer"]);
  await turn();
  expect(client.getQueryData(KEY)).toEqual(["old", "new", "newer"]);
  stop();
});

it("loads what the cancelled first request would have loaded", async () => {
  const { responses, stop } = observed();
  await turn();
  await applyChange<string[]>(client, KEY, append);
  responses[0]?.(["old"]);
  await turn();
  expect(client.getQueryData(KEY)).toEqual(["new"]);
  responses[1]?.(["old", "new"]);
  await turn();
  expect(client.getQueryData(KEY)).toEqual(["old", "new"]);
  stop();
});
