/** An answer that says no, as RFC 9457 has it (`application/problem+json`). */
export class Problem extends Error {
  override readonly name = "Problem";

  constructor(
    /** The HTTP status; 0 when no answer came at all. */
    readonly status: number,
    /** Stable, meant for programs; `unreachable` when no answer came. */
    readonly code: string,
    detail: string,
    /** Milliseconds after which to try again, where the city says so. */
    readonly retryAfterMs: number | null = null,
  ) {
    super(detail);
  }

  /** Whether the same request may succeed later without anything being changed. */
  get isTemporary(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export function unreachable(cause: unknown): Problem {
  return new Problem(0, "unreachable", cause instanceof Error ? cause.message : "no answer");
}

/** No response within the time that a request may take. */
export function timedOut(): Problem {
  return new Problem(0, "timeout", "no response in time");
}

/** `body` is what came with the status: a problem document, or whatever a proxy in between says. */
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
