import { noteServerDate } from "../lib/serverTime";
import { Problem, problemOf, timedOut, unreachable } from "./problem";

export interface Request {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  accept?: string;
  signal?: AbortSignal | undefined;
  /** The bearer token of this request, whoever is signed in meanwhile; by default the session's token. */
  token?: string | undefined;
  /** Milliseconds until the status line must arrive, if the default is too short. */
  responseTimeoutMs?: number;
}

/** The default time until the status line must arrive. */
export const RESPONSE_TIMEOUT_MS = 20_000;
/** The time for the body after the status line. */
export const BODY_TIMEOUT_MS = 60_000;

/** The token and the user of requests, and the handler for a token that the city rejects. */
export interface Credentials {
  token: () => string | null;
  /** The id of the citizen who is signed in; null for a visitor. */
  userId: () => string | null;
  onTokenRejected: (token: string) => void;
}

let credentials: Credentials = { token: () => null, userId: () => null, onTokenRejected: () => undefined };

export function setCredentials(source: Credentials): void {
  credentials = source;
}

export function withQuery(path: string, query: Request["query"] = {}): string {
  const pairs = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]]));
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}

/**
 * Return the response as soon as its headers arrive; the caller limits the time for its body.
 *
 * Raises Problem for a status that is not 2xx, if no response arrives, and if it takes too long.
 */
export async function fetchResponse(path: string, request: Request = {}): Promise<Response> {
  const { response, deadline } = await send(path, request);
  deadline.clear();
  return response;
}

/** The response's JSON. The tests of the service check that it matches the OpenAPI document (`/openapi.json`). */
export async function fetchJson<Answer>(path: string, request: Request = {}): Promise<Answer> {
  const { response, deadline } = await send(path, request);
  try {
    return (await response.json()) as Answer;
  } catch (error) {
    throw deadline.problem(error);
  } finally {
    deadline.clear();
  }
}

async function send(path: string, request: Request): Promise<{ response: Response; deadline: Deadline }> {
  const token = request.token ?? credentials.token();
  const method = request.method ?? "GET";
  const headers = new Headers({ Accept: request.accept ?? "application/json" });
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const deadline = new Deadline(request.responseTimeoutMs ?? RESPONSE_TIMEOUT_MS, request.signal);
  const init: RequestInit = { method, headers, signal: deadline.signal };
  if (request.body !== undefined) {
    headers.set("Content-Type", "application/json");
    init.body = JSON.stringify(request.body);
  }
  try {
    const response = await fetch(withQuery(path, request.query), init);
    deadline.extend(BODY_TIMEOUT_MS);
    // A GET may be answered by a cache, with the `Date` of when it was filled.
    if (method !== "GET") noteServerDate(response.headers.get("Date"), Date.now());
    if (response.ok) return { response, deadline };
    const problem = problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
    reportUnauthorized(problem, token);
    throw problem;
  } catch (error) {
    deadline.clear();
    throw deadline.problem(error);
  }
}

/** Aborts a request when its caller aborts it or the time is over. */
class Deadline {
  private readonly controller = new AbortController();
  private timer: ReturnType<typeof setTimeout>;
  private isOver = false;

  constructor(ms: number, caller: AbortSignal | undefined) {
    this.timer = setTimeout(this.expire, ms);
    if (caller?.aborted) this.controller.abort(caller.reason);
    caller?.addEventListener("abort", () => this.controller.abort(caller.reason), { once: true });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  extend(ms: number): void {
    this.clear();
    this.timer = setTimeout(this.expire, ms);
  }

  clear(): void {
    clearTimeout(this.timer);
  }

  /** Return the Problem for an error of `fetch`; an abort by the caller is returned unchanged. */
  problem(error: unknown): unknown {
    if (error instanceof Problem) return error;
    if (this.isOver) return timedOut();
    if (error instanceof DOMException && error.name === "AbortError") return error;
    return unreachable(error);
  }

  private readonly expire = (): void => {
    this.isOver = true;
    this.controller.abort();
  };
}

/** Report a token that is no longer valid: the status is 401 (`sign_in`, `token_invalid`) although the request had a token. */
export function reportUnauthorized(problem: Problem, token: string | null): void {
  if (problem.status === 401 && token) credentials.onTokenRejected(token);
}

export function currentToken(): string | null {
  return credentials.token();
}

export function currentUserId(): string | null {
  return credentials.userId();
}
