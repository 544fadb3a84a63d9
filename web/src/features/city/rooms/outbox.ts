import type { NewMessage } from "../../../api/city";
import { Problem } from "../../../api/problem";
import type { Media, Message } from "../../../api/types";
import { waitMs } from "../../../lib/backoff";
import type { Cancel, Clock } from "../../../lib/clock";
import type { Outgoing } from "./timeline";

export interface OutboxWorld {
  say: (said: NewMessage) => Promise<Message>;
  clock: Clock;
  random: () => number;
  newId: () => string;
}

export interface OutboxSink {
  changed: (waiting: readonly Outgoing[]) => void;
  delivered: (message: Message) => void;
}

/**
 * What one said, on its way to the city: one after the other, in the order said.
 *
 * While the city is out of reach all of it waits; it is repeated with its `client_id`, so that nothing is said twice. What the
 * city does not want stays as failed, and does not hold up the rest.
 */
export class Outbox {
  private waiting: readonly Outgoing[] = [];
  private isDelivering = false;
  private failures = 0;
  private cancelWait: Cancel = () => undefined;

  constructor(
    private readonly world: OutboxWorld,
    private readonly sink: OutboxSink,
  ) {}

  add(body: string, replyTo: string | null, media: Media | null): void {
    const clientId = this.world.newId();
    const createdAt = new Date(this.world.clock.now()).toISOString();
    this.set([...this.waiting, { clientId, body, replyTo, media, createdAt, state: "sending", problem: null }]);
    void this.deliver();
  }

  retry(clientId: string): void {
    this.change(clientId, { state: "waiting", problem: null });
    void this.deliver();
  }

  discard(clientId: string): void {
    this.set(this.waiting.filter((outgoing) => outgoing.clientId !== clientId));
  }

  /** The city told of it by another way: its answer may have been lost. */
  heard(clientId: string): void {
    if (this.waiting.some((outgoing) => outgoing.clientId === clientId)) this.discard(clientId);
  }

  /** The city is back, or somebody signed in. */
  deliverNow(): void {
    this.cancelWait();
    void this.deliver();
  }

  stop(): void {
    this.cancelWait();
  }

  private async deliver(): Promise<void> {
    if (this.isDelivering) return;
    this.isDelivering = true;
    this.cancelWait();
    try {
      for (let next = this.next(); next; next = this.next()) {
        if (!(await this.deliverOne(next))) return;
      }
    } finally {
      this.isDelivering = false;
    }
  }

  private next(): Outgoing | undefined {
    return this.waiting.find(({ state }) => state !== "failed");
  }

  /** False when the rest must wait. */
  private async deliverOne(outgoing: Outgoing): Promise<boolean> {
    const { clientId, body, replyTo, media } = outgoing;
    this.change(clientId, { state: "sending" });
    try {
      const said = { body, client_id: clientId, reply_to: replyTo, ...(media ? { media: media.mxc } : {}) };
      const message = await this.world.say(said);
      this.failures = 0;
      this.discard(clientId);
      this.sink.delivered(message);
      return true;
    } catch (error) {
      return this.notDelivered(clientId, error instanceof Problem ? error : new Problem(0, "other", String(error)));
    }
  }

  private notDelivered(clientId: string, problem: Problem): boolean {
    if (problem.status !== 401 && !problem.isPassing) {
      this.change(clientId, { state: "failed", problem });
      return true;
    }
    this.change(clientId, { state: "waiting", problem });
    this.failures += 1;
    const ms = problem.retryAfterMs ?? waitMs(this.failures, this.world.random);
    // Without a token that counts only signing in helps, which says so by deliverNow().
    if (problem.status !== 401) this.cancelWait = this.world.clock.after(ms, () => void this.deliver());
    return false;
  }

  private change(clientId: string, changes: Partial<Outgoing>): void {
    this.set(this.waiting.map((outgoing) => (outgoing.clientId === clientId ? { ...outgoing, ...changes } : outgoing)));
  }

  private set(waiting: readonly Outgoing[]): void {
    this.waiting = waiting;
    this.sink.changed(waiting);
  }
}
