import type { Cancel, Clock } from "../lib/clock";
import { keep, kept } from "../lib/storage";

/** Of all tabs one sends what waits. */
export interface Leadership {
  /** Take it from a tab that gives no sign of life. */
  take: () => void;
  stop: () => void;
}

export interface Candidate {
  leads: () => void;
  /** Another tab took it over. */
  lost: () => void;
}

const LOCK = "city.outbox";

/** Compete for the leadership by the Web Locks API, or without it (plain HTTP) by a lease in `localStorage`. */
export function compete(candidate: Candidate, clock: Clock, tabId: string): Leadership {
  // The types say that it is always there; outside of secure contexts it is not.
  const locks = (navigator as { locks?: LockManager }).locks;
  return locks ? byLock(locks, candidate) : new Lease(candidate, clock, tabId);
}

function byLock(locks: LockManager, candidate: Candidate): Leadership {
  let release: () => void = () => undefined;
  let isStopped = false;
  const hold = () => {
    if (isStopped) return undefined;
    candidate.leads();
    return new Promise<void>((resolve) => (release = resolve));
  };
  const wait = () => void locks.request(LOCK, hold).catch(lost);
  const lost = () => {
    if (isStopped) return;
    candidate.lost();
    wait();
  };
  wait();
  return {
    take: () => void locks.request(LOCK, { steal: true }, hold).catch(lost),
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
export class Lease implements Leadership {
  private leads = false;
  private readonly cancel: Cancel;

  constructor(
    private readonly candidate: Candidate,
    private readonly clock: Clock,
    private readonly tabId: string,
  ) {
    this.cancel = clock.every(RENEW_MS, () => this.look());
    this.look();
  }

  take(): void {
    this.renew();
    this.look();
  }

  stop(): void {
    this.cancel();
    if (this.leads) keep(LOCK, null);
    this.leads = false;
  }

  private look(): void {
    const [holder, until] = (kept(LOCK) ?? "").split(" ");
    const left = Number(until) - this.clock.now();
    const isAnothers = holder !== undefined && holder !== "" && holder !== this.tabId && left > 0 && left <= LEASE_MS;
    if (!isAnothers) this.renew();
    if (isAnothers === this.leads) {
      this.leads = !isAnothers;
      if (this.leads) this.candidate.leads();
      else this.candidate.lost();
    }
  }

  private renew(): void {
    keep(LOCK, `${this.tabId} ${this.clock.now() + LEASE_MS}`);
  }
}
