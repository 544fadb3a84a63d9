import type { Status, SubjectId, SubjectPresence } from "../api/types";
import type { Cancel, Clock } from "./clock";

/** What of an EventSource is used. */
export interface EventStream {
  addEventListener: (name: string, hear: (event: { data?: unknown }) => void) => void;
  close: () => void;
  /** 2 when it has given up. */
  readonly readyState: number;
}

export interface StreamWorld {
  open: () => EventStream;
  /** The presence of these, asked for once. */
  poll: (subjects: readonly SubjectId[]) => Promise<SubjectPresence[]>;
  clock: Clock;
}

export const POLL_EVERY_MS = 30_000;

/** As many as the city tells at once. */
const POLL_AT_MOST = 500;

const GIVEN_UP = 2;

type Listener = (status: Status) => void;

/**
 * Presence by server-sent events, shared by all who watch somebody; while the stream is broken it is asked for every 30 s.
 *
 * Browsers open six connections to a host (HTTP/1.1), all tabs together, and a stream is one of them: so there is one only
 * while somebody watches on a page that is shown.
 */
export class PresenceClient {
  private readonly watched = new Map<SubjectId, Set<Listener>>();
  private known = new Map<SubjectId, Status>();
  private stream: EventStream | null = null;
  private stopPolling: Cancel | null = null;
  private isPaused = false;

  constructor(private readonly world: StreamWorld) {}

  /** Tell `listener` the status now, when it is known, and each change. Answers how to stop. */
  watch(subject: SubjectId, listener: Listener): Cancel {
    const listeners = this.watched.get(subject) ?? new Set();
    this.watched.set(subject, listeners.add(listener));
    const status = this.known.get(subject);
    if (status) listener(status);
    this.open();
    return () => {
      listeners.delete(listener);
      if (!listeners.size) this.watched.delete(subject);
      if (!this.watched.size) this.close();
    };
  }

  /** The page is hidden: nobody looks. */
  pause(): void {
    this.isPaused = true;
    this.close();
  }

  resume(): void {
    this.isPaused = false;
    if (this.watched.size) this.open();
  }

  private open(): void {
    if (this.stream || this.isPaused) return;
    const stream = this.world.open();
    this.stream = stream;
    stream.addEventListener("snapshot", ({ data }) => this.takeSnapshot(data));
    stream.addEventListener("presence", ({ data }) => this.takeChange(data));
    stream.addEventListener("error", () => this.beginPolling());
  }

  private close(): void {
    this.endPolling();
    this.stream?.close();
    this.stream = null;
    // What is known grows old from now on.
    this.known = new Map();
  }

  private takeSnapshot(data: unknown): void {
    this.endPolling();
    const { users } = JSON.parse(String(data)) as { users: SubjectPresence[] };
    this.known = new Map(users.map((user) => [user.user_id, user.status]));
    for (const [subject, listeners] of this.watched) {
      const status = this.known.get(subject) ?? "offline";
      this.known.set(subject, status);
      for (const tell of listeners) tell(status);
    }
  }

  private takeChange(data: unknown): void {
    this.endPolling();
    this.tell(JSON.parse(String(data)) as SubjectPresence);
  }

  private tell({ user_id: subject, status }: SubjectPresence): void {
    this.known.set(subject, status);
    for (const tell of this.watched.get(subject) ?? []) tell(status);
  }

  private beginPolling(): void {
    if (this.stopPolling) return;
    this.stopPolling = this.world.clock.every(POLL_EVERY_MS, () => this.poll());
    this.poll();
  }

  private endPolling(): void {
    this.stopPolling?.();
    this.stopPolling = null;
  }

  private poll(): void {
    if (this.stream?.readyState === GIVEN_UP) {
      this.stream = null;
      this.open();
    }
    const subjects = [...this.watched.keys()].slice(0, POLL_AT_MOST);
    this.world.poll(subjects).then(
      (users) => {
        // The stream may have come back meanwhile: then it knows better.
        if (this.stopPolling) for (const user of users) this.tell(user);
      },
      () => undefined, // The next one is due in half a minute, and the page says already that the city is away.
    );
  }
}
