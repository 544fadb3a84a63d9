import { queryOptions } from "@tanstack/react-query";
import { city } from "./city";
import { Problem } from "./problem";
import { fetchBlob } from "./upload";
import { cachedQuery } from "./cachedQueries";

const LONG_STALE_MS = 10 * 60_000;
/** Options for queries that are requested once, even if they fail: the rows of a list mount and unmount. */
const KEPT = { staleTime: Infinity, gcTime: 30 * 60_000, retry: false, retryOnMount: false, refetchOnReconnect: false } as const;
const ABSENT: readonly number[] = [404, 422];

function nullWhereAbsent(error: unknown): null {
  if (error instanceof Problem && ABSENT.includes(error.status)) return null;
  throw error;
}

/** The queries of the pages. `LiveQueries` keeps Home and the lists of rooms up to date. */
export const queries = {
  site: queryOptions({ queryKey: ["site"], queryFn: cachedQuery((signal) => city.site(signal)), staleTime: Infinity }),
  me: (userId: string) =>
    queryOptions({ queryKey: ["me", userId], queryFn: cachedQuery((signal) => city.me(signal)), staleTime: LONG_STALE_MS }),
  home: queryOptions({ queryKey: ["home"], queryFn: cachedQuery((signal) => city.home(signal)) }),
  rooms: (sort: "popular" | "recent" | "name") =>
    queryOptions({
      queryKey: ["rooms", sort],
      queryFn: cachedQuery((signal) => city.rooms(sort, signal)),
    }),
  /** Rooms whose names are shown. */
  roomsOf: (ids: readonly string[]) =>
    queryOptions({
      queryKey: ["rooms", "of", ...ids],
      queryFn: ({ signal }) => city.roomsOf(ids, signal),
      enabled: ids.length > 0,
      staleTime: LONG_STALE_MS,
    }),
  unread: (reader: string, since: readonly string[], lastSeqs: string) =>
    queryOptions({
      queryKey: ["unread", reader, lastSeqs, ...since],
      queryFn: ({ signal }) => city.unread(since, signal),
      enabled: since.length > 0,
      staleTime: LONG_STALE_MS,
    }),
  /** One page of messages with these words in all rooms, or in one; without words no request is sent. */
  search: (q: string, room: string | null) =>
    queryOptions({
      queryKey: ["search", q, room],
      queryFn: ({ signal }) => city.search(q, room === null ? {} : { room }, null, signal),
      enabled: q !== "",
      retry: false,
    }),
  /** The preview of a linked page; null if it has none. It is not fetched again while the document is open. */
  preview: (url: string) =>
    queryOptions({
      queryKey: ["preview", url],
      queryFn: ({ signal }) => city.preview(url, signal).catch(nullWhereAbsent),
      ...KEPT,
    }),
  previewImage: (path: string) => queryOptions({ queryKey: ["preview image", path], queryFn: () => fetchBlob(path), ...KEPT }),
  directChats: (userId: string) =>
    queryOptions({
      queryKey: ["direct", userId],
      queryFn: cachedQuery((signal) => city.directChats(signal)),
      retry: false,
      staleTime: LONG_STALE_MS,
    }),
  person: (subject: string) =>
    queryOptions({ queryKey: ["people", subject], queryFn: ({ signal }) => city.person(subject, signal), retry: false }),
  /** `usePins` keeps them up to date. */
  pins: (roomId: string) =>
    queryOptions({ queryKey: ["pins", roomId], queryFn: ({ signal }) => city.pins(roomId, signal), staleTime: LONG_STALE_MS }),
  roomDetails: (name: string) =>
    queryOptions({ queryKey: ["room details", name], queryFn: ({ signal }) => city.room(name, signal), retry: false }),
  bans: (name: string) =>
    queryOptions({ queryKey: ["bans", name], queryFn: ({ signal }) => city.bans(name, signal), retry: false }),
  agents: queryOptions({ queryKey: ["agents"], queryFn: ({ signal }) => city.agents(signal), staleTime: 60_000 }),
  agentMessages: (id: string, userId: string | null) =>
    queryOptions({
      queryKey: ["agents", id, "messages", userId],
      queryFn: ({ signal }) => city.agentMessages(id, signal),
    }),
  agent: (id: string) => queryOptions({ queryKey: ["agents", id], queryFn: ({ signal }) => city.agent(id, signal) }),
  nodes: queryOptions({ queryKey: ["nodes"], queryFn: ({ signal }) => city.nodes(signal) }),
  microDaos: queryOptions({ queryKey: ["microdaos"], queryFn: ({ signal }) => city.microDaos(signal) }),
  districts: queryOptions({ queryKey: ["districts"], queryFn: ({ signal }) => city.districts(signal) }),
  node: (id: string) => queryOptions({ queryKey: ["nodes", id], queryFn: ({ signal }) => city.node(id, signal) }),
  microDao: (slug: string) =>
    queryOptions({ queryKey: ["microdaos", slug], queryFn: ({ signal }) => city.microDao(slug, signal) }),
  secondMeHistory: (userId: string) =>
    queryOptions({
      queryKey: ["secondme", userId],
      queryFn: ({ signal }) => city.secondMeHistory(signal),
      staleTime: LONG_STALE_MS,
    }),
};
