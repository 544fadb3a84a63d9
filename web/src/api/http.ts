import { Problem, problemOf, unreachable } from "./problem";

export interface Request {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  accept?: string;
  signal?: AbortSignal | undefined;
}

/** Who is asking, and what to do when the city no longer believes it. */
export interface Credentials {
  token: () => string | null;
  refused: (token: string) => void;
}

let credentials: Credentials = { token: () => null, refused: () => undefined };

export function setCredentials(source: Credentials): void {
  credentials = source;
}

export function address(path: string, query: Request["query"] = {}): string {
  const pairs = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]]));
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}

/** The answer as it is. Raises Problem for what is not 2xx, and when there is no answer. */
export async function ask(path: string, request: Request = {}): Promise<Response> {
  const token = credentials.token();
  const headers = new Headers({ Accept: request.accept ?? "application/json" });
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const init: RequestInit = { method: request.method ?? "GET", headers, signal: request.signal ?? null };
  if (request.body !== undefined) {
    headers.set("Content-Type", "application/json");
    init.body = JSON.stringify(request.body);
  }
  const response = await fetch(address(path, request.query), init).catch((error: unknown) => {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw unreachable(error);
  });
  if (response.ok) return response;
  const problem = problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
  noteRefusal(problem, token);
  throw problem;
}

/** The answer's JSON. What it looks like is the city's promise (`/openapi.json`), which its own tests hold it to. */
export async function askJson<Answer>(path: string, request: Request = {}): Promise<Answer> {
  const response = await ask(path, request);
  return (await response.json()) as Answer;
}

/** `sign_in` and `token_invalid` to somebody with a token mean that it no longer counts. */
export function noteRefusal(problem: Problem, token: string | null): void {
  if (problem.status === 401 && token) credentials.refused(token);
}

export function currentToken(): string | null {
  return credentials.token();
}
