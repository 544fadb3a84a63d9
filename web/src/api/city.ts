import { fetchResponse, fetchJson } from "./http";
import type {
  Agent,
  AgentMessage,
  Ban,
  CitizenNames,
  CityHome,
  CurrentCitizen,
  DirectChat,
  Interaction,
  Membership,
  Message,
  MicroDaoDetails,
  NewMessage,
  NewPushSubscription,
  NodeDetails,
  NotificationMode,
  OpenIdToken,
  PollVote,
  PresenceList,
  ProfileCard,
  PushKey,
  OwnProfileChange,
  Receipt,
  RenderedMarkdown,
  Room,
  RoomDetails,
  RoomPatch,
  SearchResults,
  SignInNonce,
  SignInResult,
  SiteSettings,
  SubjectId,
  UnreadCount,
  UrlPreview,
  District,
  MicroDao,
  Node,
} from "./types";

const CHATS_PER_PAGE = 500;

/** The filters of a message search, beside its words. */
export interface SearchFilter {
  room?: string;
  author?: SubjectId;
  /** Times as RFC 3339, or days of UTC as `2026-11-22`. */
  after?: string;
  before?: string;
}

/** The position of a page of messages in the history: before or after a `seq`, or around a message id. */
export type PagePosition = { before: number } | { after: number } | { around: string };

type Signal = AbortSignal | undefined;

const part = encodeURIComponent;
const room = (name: string) => `/city/rooms/${part(name)}`;
const message = (roomName: string, id: string) => `${room(roomName)}/messages/${part(id)}`;

/** Milliseconds until the response of the agents core must begin. */
const CORE_WITHIN_MS = 90_000;

/** The largest number of rooms in one response of the city. */
export const MAX_ROOMS = 500;

/** The number of feed entries on Home before they are grouped. */
export const HOME_ENTRIES = 20;

/** Every route of the city's API that the pages use; see docs/reference/api.md. Each raises Problem. */
export const city = {
  site: (signal: Signal) => fetchJson<SiteSettings>("/city/site", { signal }),
  me: (signal: Signal) => fetchJson<CurrentCitizen>("/city/me", { signal }),
  changeProfile: (change: Partial<OwnProfileChange>) => fetchJson<CurrentCitizen>("/city/me", { method: "PATCH", body: change }),
  signInWithName: (name: string) => fetchJson<SignInResult>("/city/sign-in/name", { method: "POST", body: { name } }),
  signInNonce: () => fetchJson<SignInNonce>("/city/sign-in/nonce", { method: "POST" }),
  signInWithMatrix: (token: OpenIdToken) => fetchJson<SignInResult>("/city/sign-in/matrix", { method: "POST", body: token }),

  citizens: (ids: readonly SubjectId[], signal: Signal) =>
    fetchJson<CitizenNames>("/city/citizens", {
      query: { ids: ids.join(",") },
      signal,
    }),

  home: (signal: Signal) => fetchJson<CityHome>("/city/home", { query: { feed: HOME_ENTRIES }, signal }),

  rooms: (sort: "popular" | "recent" | "name", signal: Signal) =>
    fetchJson<Room[]>("/city/rooms", { query: { sort, limit: MAX_ROOMS }, signal }),
  /** Rooms by id or slug, at most 100. */
  roomsOf: (ids: readonly string[], signal: Signal) =>
    fetchJson<Room[]>("/city/rooms", { query: { ids: ids.slice(0, 100).join(",") }, signal }),
  /** `since`: at most 100 items of the form `<room id>:<seq>`. */
  unread: (since: readonly string[], signal: Signal) =>
    fetchJson<UnreadCount[]>("/city/me/unread", { query: { since: since.join(",") }, signal }),
  room: (name: string, signal: Signal) => fetchJson<RoomDetails>(room(name), { signal }),
  createRoom: (name: string, description: string) =>
    fetchJson<Room>("/city/rooms", { method: "POST", body: { name, description } }),
  join: (name: string) => fetchJson<Membership>(`${room(name)}/join`, { method: "POST" }),
  leave: (name: string) => fetchJson<Membership>(`${room(name)}/leave`, { method: "POST" }),

  /** Store on the server up to which message the citizen has read the room, for all devices. */
  markRead: (name: string, messageId: string) =>
    fetchResponse(`${room(name)}/read`, { method: "PUT", body: { message_id: messageId } }),
  setNotifications: (name: string, mode: NotificationMode) =>
    fetchJson<{ mode: NotificationMode }>(`${room(name)}/notifications`, { method: "PUT", body: { mode } }),

  /** Messages with these words, newest first; `cursor` comes from the page before. */
  search: (q: string, filter: SearchFilter, cursor: string | null, signal: Signal) =>
    fetchJson<SearchResults>("/city/search", { query: { q, ...filter, cursor: cursor ?? undefined }, signal }),
  preview: (url: string, signal: Signal) => fetchJson<UrlPreview>("/city/preview", { query: { url }, signal }),
  /** The messages around the first message at or after a time. */
  messagesAt: (name: string, time: string, limit: number) =>
    fetchJson<Message[]>(`${room(name)}/messages`, { query: { around_time: time, limit } }),

  pushKey: () => fetchJson<PushKey>("/city/push"),
  subscribeToPush: (subscription: NewPushSubscription) => fetchResponse("/city/me/push", { method: "PUT", body: subscription }),
  unsubscribeFromPush: (endpoint: string, token?: string) =>
    fetchResponse("/city/me/push", { method: "DELETE", body: { endpoint }, token }),

  /** All direct chats, page by page. */
  directChats: async (signal: Signal) => {
    const chats: DirectChat[] = [];
    for (;;) {
      const query = { limit: CHATS_PER_PAGE, offset: chats.length };
      const page = await fetchJson<DirectChat[]>("/city/direct", { query, signal });
      chats.push(...page);
      if (page.length < CHATS_PER_PAGE) return chats;
    }
  },
  /** `other`: `citizen:<id>` or `agent:<slug>`. */
  openDirectChat: (other: string) => fetchJson<DirectChat>("/city/direct", { method: "POST", body: { with: other } }),
  block: (citizenId: string, isBlocked: boolean) =>
    fetchResponse(`/city/me/blocks/${part(citizenId)}`, { method: isBlocked ? "PUT" : "DELETE" }),
  person: (subject: SubjectId, signal: Signal) => fetchJson<ProfileCard>(`/city/people/${part(subject)}`, { signal }),

  /** Messages whose `seq` is lower than `before`, oldest first. */
  messages: (name: string, before: number, limit: number, signal: Signal) =>
    fetchJson<Message[]>(`${room(name)}/messages`, { query: { before, limit }, signal }),
  /** Messages whose `seq` is higher than `after`. */
  messagesAfter: (name: string, after: number, limit: number) =>
    fetchJson<Message[]>(`${room(name)}/messages`, { query: { after, limit } }),
  /** Messages before and after a message, with it in the middle. */
  messagesAround: (name: string, id: string, limit: number) =>
    fetchJson<Message[]>(`${room(name)}/messages`, { query: { around: id, limit } }),
  /** The read receipts of the main timeline, or of a thread. */
  receipts: (name: string, threadRoot: string | null) =>
    fetchJson<Receipt[]>(`${room(name)}/receipts`, { query: threadRoot === null ? {} : { thread_root: threadRoot } }),
  /** The roots of threads, the one with the newest reply first; with `before`, those whose newest reply has a lower `seq`. */
  threads: (name: string, limit: number, before?: number) =>
    fetchJson<Message[]>(`${room(name)}/threads`, { query: { limit, ...(before === undefined ? {} : { before }) } }),
  /** The replies of a thread, oldest first; without a position, the newest ones. */
  replies: (name: string, rootId: string, position: PagePosition | null, limit: number) =>
    fetchJson<Message[]>(`${room(name)}/threads/${part(rootId)}`, { query: { ...position, limit } }),
  /** `sendMessage`, `edit`, `remove` and `react` take the token of the author, whoever is signed in by then. */
  sendMessage: (name: string, message: NewMessage, token?: string) =>
    fetchJson<Message>(`${room(name)}/messages`, { method: "POST", body: message, token }),
  renderMarkdown: (body: string, signal: Signal) =>
    fetchJson<RenderedMarkdown>("/city/markdown", { method: "POST", body: { body }, signal }),
  edit: (name: string, id: string, body: string, token?: string) =>
    fetchJson<Message>(message(name, id), { method: "PATCH", body: { body }, token }),
  remove: (name: string, id: string, token?: string) => fetchJson<Message>(message(name, id), { method: "DELETE", token }),
  react: (name: string, id: string, emoji: string, given: boolean, token?: string) =>
    fetchJson<Message>(`${message(name, id)}/reactions/${part(emoji)}`, { method: given ? "PUT" : "DELETE", token }),
  retry: (name: string, id: string) => fetchJson<Message>(`${message(name, id)}/retry`, { method: "POST" }),

  updateRoom: (name: string, changes: RoomPatch) => fetchJson<Room>(room(name), { method: "PATCH", body: changes }),
  pins: (name: string, signal: Signal) => fetchJson<Message[]>(`${room(name)}/pins`, { signal }),
  pin: (name: string, id: string, isPinned: boolean) =>
    fetchResponse(`${room(name)}/pins/${part(id)}`, { method: isPinned ? "PUT" : "DELETE" }),
  kick: (name: string, subject: SubjectId, reason: string) =>
    fetchResponse(`${room(name)}/kick`, { method: "POST", body: { subject, reason } }),
  bans: (name: string, signal: Signal) => fetchJson<Ban[]>(`${room(name)}/bans`, { signal }),
  ban: (name: string, subject: SubjectId, reason: string) =>
    fetchResponse(`${room(name)}/bans/${part(subject)}`, { method: "PUT", body: { reason } }),
  unban: (name: string, subject: SubjectId) => fetchResponse(`${room(name)}/bans/${part(subject)}`, { method: "DELETE" }),

  ownVote: (name: string, id: string, signal: Signal) => fetchJson<PollVote>(`${message(name, id)}/votes`, { signal }),
  vote: (name: string, id: string, selections: readonly string[]) =>
    fetchJson<Message>(`${message(name, id)}/votes`, { method: "POST", body: { selections } }),
  endPoll: (name: string, id: string) => fetchJson<Message>(`${message(name, id)}/end`, { method: "POST" }),

  agents: (signal: Signal) => fetchJson<Agent[]>("/api/v1/agents", { signal }),
  /** Agents by id or slug, at most 500. */
  agentsOf: (ids: readonly string[]) => fetchJson<Agent[]>("/api/v1/agents", { query: { ids: ids.join(",") } }),
  /** The agent's newest messages in public rooms, and in other rooms that the reader may read. */
  agentMessages: (id: string, signal: Signal) => fetchJson<AgentMessage[]>(`/api/v1/agents/${part(id)}/messages`, { signal }),
  agent: (id: string, signal: Signal) => fetchJson<Agent>(`/api/v1/agents/${part(id)}`, { signal }),
  /** The presence of at most 500 subjects, in the order of the request. */
  presence: (subjects: readonly SubjectId[], signal: Signal) =>
    fetchJson<PresenceList>("/api/v1/presence", { query: { ids: subjects.join(",") }, signal }),
  nodes: (signal: Signal) => fetchJson<Node[]>("/api/v1/nodes", { signal }),
  microDaos: (signal: Signal) => fetchJson<MicroDao[]>("/api/v1/microdaos", { signal }),
  districts: (signal: Signal) => fetchJson<District[]>("/api/v1/districts", { signal }),
  node: (id: string, signal: Signal) => fetchJson<NodeDetails>(`/api/v1/nodes/${part(id)}`, { signal }),
  microDao: (slug: string, signal: Signal) => fetchJson<MicroDaoDetails>(`/api/v1/microdaos/${part(slug)}`, { signal }),

  /** Server-sent events: `delta`, then `done` or `error`. */
  askSecondMe: (prompt: string, signal: AbortSignal) =>
    fetchResponse("/secondme/invoke", {
      method: "POST",
      body: { prompt },
      accept: "text/event-stream",
      signal,
      responseTimeoutMs: CORE_WITHIN_MS,
    }),
  secondMeHistory: (signal: Signal) => fetchJson<Interaction[]>("/secondme/history", { signal }),
  forgetSecondMe: () => fetchResponse("/secondme/history", { method: "DELETE" }),
};
