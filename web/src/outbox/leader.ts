import type { Cancel, Clock } from "../lib/clock";
import { setLocalItem, getLocalItem } from "../lib/storage";

/** The election of the one tab that sends the entries of all tabs. */
export interface LeaderElection {
  /** Take the lead from a tab that does not respond. */
  steal: () => void;
  stop: () => void;
}

export interface Candidate {
  onElected: () => void;
  /** Called when another tab has taken the lead. */
  onLost: () => void;
}

const LOCK = "city.outbox";

/** Compete for the lead by the Web Locks API, or without it (plain HTTP) by a lease in `localStorage`. */
export function electLeader(candidate: Candidate, clock: Clock, tabId: string): LeaderElection {
  // Its type says that it always exists; outside of secure contexts it does not.
  const locks = (navigator as { locks?: LockManager }).locks;
  return locks ? new LockElection(locks, candidate, clock, tabId) : new Lease(candidate, clock, tabId);
}

class LockElection implements LeaderElection {
  private release: () => void = () => undefined;
  private isStopped = false;
  /** The lease in place of the lock, if the browser refuses locks. */
  private lease: Lease | null = null;

  constructor(
    private readonly locks: LockManager,
    private readonly candidate: Candidate,
    private readonly clock: Clock,
    private readonly tabId: string,
  ) {
    this.request({});
  }

  steal(): void {
    if (this.lease) this.lease.steal();
    else this.request({ steal: true });
  }

  stop(): void {
    this.isStopped = true;
    this.release();
    this.lease?.stop();
  }

  private request(options: LockOptions): void {
    void this.locks.request(LOCK, options, () => this.hold()).catch((error: unknown) => this.onRejected(error));
  }

  private hold(): Promise<void> | undefined {
    if (this.isStopped) return undefined;
    this.candidate.onElected();
    return new Promise((resolve) => (this.release = resolve));
  }

  /**
   * Another tab stole the lock (AbortError), or the browser refuses locks (SecurityError): in frames of other sites, such as a
   * widget in a Matrix client, if third-party storage is blocked. Then every further request is rejected at once.
   */
  private onRejected(error: unknown): void {
    if (this.isStopped) return;
    if (error instanceof DOMException && error.name === "AbortError") {
      this.candidate.onLost();
      this.request({});
    } else this.lease ??= new Lease(this.candidate, this.clock, this.tabId);
  }
}

/** How long a lease is valid without a renewal; milliseconds. */
export const LEASE_MS = 6_000;
const RENEW_MS = 2_000;

/**
 * A lease in `localStorage`: `<tab> <until>`.
 *
 * It is not a lock: two tabs may lead for a moment. The city accepts an entry that both send once, by its `client_id`.
 */
export class Lease implements LeaderElection {
  private isLeader = false;
  private readonly cancel: Cancel;

  constructor(
    private readonly candidate: Candidate,
    private readonly clock: Clock,
    private readonly tabId: string,
  ) {
    this.cancel = clock.every(RENEW_MS, () => this.check());
    this.check();
  }

  steal(): void {
    this.renew();
    this.check();
  }

  stop(): void {
    this.cancel();
    if (this.isLeader) setLocalItem(LOCK, null);
    this.isLeader = false;
  }

  private check(): void {
    const [holder, until] = (getLocalItem(LOCK) ?? "").split(" ");
    const left = Number(until) - this.clock.now();
    const isAnothers = holder !== undefined && holder !== "" && holder !== this.tabId && left > 0 && left <= LEASE_MS;
    if (!isAnothers) this.renew();
    if (isAnothers === this.isLeader) {
      this.isLeader = !isAnothers;
      if (this.isLeader) this.candidate.onElected();
      else this.candidate.onLost();
    }
  }

  private renew(): void {
    setLocalItem(LOCK, `${this.tabId} ${this.clock.now() + LEASE_MS}`);
  }
}
