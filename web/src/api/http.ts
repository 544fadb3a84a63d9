import { noteServerDate } from "../lib/serverTime";
import { Problem, problemOf, timedOut, unreachable } from "./problem";

export interface Request {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  accept?: string;
  signal?: AbortSignal | undefined;
  /** The bearer token of this one request, whoever is signed in meanwhile; else the session's. */
  token?: string | undefined;
  /** Milliseconds until the status line must be there, where the usual time is too short. */
  responseTimeoutMs?: number;
}

/** Milliseconds until the status line must be there. */
export const RESPONSE_TIMEOUT_MS = 20_000;
/** Milliseconds for the body after that. */
export const BODY_TIMEOUT_MS = 60_000;

/** Who is asking, and what to do when the city no longer believes it. */
export interface Credentials {
  token: () => string | null;
  /** The id of the citizen who is asking; null for a visitor. */
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
 * The response as soon as its head is there; how long its body may take is the caller's business.
 *
 * Raises Problem for a status that is not 2xx, when no response comes, and when it takes too long.
 */
export async function fetchResponse(path: string, request: Request = {}): Promise<Response> {
  const { response, deadline } = await send(path, request);
  deadline.clear();
  return response;
}

/** The response's JSON. What it looks like is the city's promise (`/openapi.json`), which its own tests hold it to. */
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
    // A GET may be answered by a cache, with the date of when it was filled.
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

/** Aborts a request when its caller does, or when the time is over. */
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

  /** What an error of `fetch` means; the caller's own abort stays what it is. */
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

/** `sign_in` and `token_invalid` to somebody with a token mean that it no longer counts. */
export function reportUnauthorized(problem: Problem, token: string | null): void {
  if (problem.status === 401 && token) credentials.onTokenRejected(token);
}

export function currentToken(): string | null {
  return credentials.token();
}

export function currentUserId(): string | null {
  return credentials.userId();
}
