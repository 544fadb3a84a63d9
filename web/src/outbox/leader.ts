import type { Cancel, Clock } from "../lib/clock";
import { setLocalItem, getLocalItem } from "../lib/storage";

/** Of all tabs one sends what waits. */
export interface LeaderElection {
  /** Take it from a tab that gives no sign of life. */
  steal: () => void;
  stop: () => void;
}

export interface Candidate {
  onElected: () => void;
  /** Another tab took it over. */
  onLost: () => void;
}

const LOCK = "city.outbox";

/** Compete for the leadership by the Web Locks API, or without it (plain HTTP) by a lease in `localStorage`. */
export function electLeader(candidate: Candidate, clock: Clock, tabId: string): LeaderElection {
  // The types say that it is always there; outside of secure contexts it is not.
  const locks = (navigator as { locks?: LockManager }).locks;
  return locks ? byLock(locks, candidate) : new Lease(candidate, clock, tabId);
}

function byLock(locks: LockManager, candidate: Candidate): LeaderElection {
  let release: () => void = () => undefined;
  let isStopped = false;
  const hold = () => {
    if (isStopped) return undefined;
    candidate.onElected();
    return new Promise<void>((resolve) => (release = resolve));
  };
  const wait = () => void locks.request(LOCK, hold).catch(lost);
  const lost = () => {
    if (isStopped) return;
    candidate.onLost();
    wait();
  };
  wait();
  return {
    steal: () => void locks.request(LOCK, { steal: true }, hold).catch(lost),
    stop: () => {
      isStopped = true;
      release();
    },
  };
}

/** For how long a lease counts that nobody renews; milliseconds. */
export const LEASE_MS = 6_000;
const RENEW_MS = 2_000;

/**
 * A lease in `localStorage`: `<tab> <until>`.
 *
 * It is no lock: two tabs may lead for a moment. What they send twice the city takes once, by its `client_id`.
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
