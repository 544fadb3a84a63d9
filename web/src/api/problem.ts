/** An error response as a problem document of RFC 9457 (`application/problem+json`), or a request without a response. */
export class Problem extends Error {
  override readonly name = "Problem";

  constructor(
    /** The HTTP status; 0 if no response came. */
    readonly status: number,
    /** A stable code for programs; `unreachable` if no response came. */
    readonly code: string,
    detail: string,
    /** Milliseconds after which to retry, if the city sends them. */
    readonly retryAfterMs: number | null = null,
  ) {
    super(detail);
  }

  /** Whether the same request may succeed later without any change. */
  get isTemporary(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export function unreachable(cause: unknown): Problem {
  return new Problem(0, "unreachable", cause instanceof Error ? cause.message : "no answer");
}

/** No response within the time limit of a request. */
export function timedOut(): Problem {
  return new Problem(0, "timeout", "no response in time");
}

/** `body` is the body of the response: a problem document, or the text of a proxy in between. */
export function problemOf(status: number, body: string, retryAfter: string | null): Problem {
  const { code, detail } = problemFields(body);
  const seconds = retryAfter === null ? NaN : Number(retryAfter);
  return new Problem(status, code ?? `http_${status}`, detail ?? `HTTP ${status}`, Number.isNaN(seconds) ? null : seconds * 1000);
}

function problemFields(body: string): { code?: string; detail?: string } {
  try {
    const found: unknown = JSON.parse(body);
    return typeof found === "object" && found !== null ? found : {};
  } catch {
    return {};
  }
}
